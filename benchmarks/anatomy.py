"""Time of a training step: fractions by kind of work, of the 784-400-20 MLP, eager and compiled.

LATENTMAP_DATA=folder python -m benchmarks.anatomy
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.common import HERE, write
from benchmarks.vae import vae_of

BATCHES = (128, 1024)
EPOCHS = 11
STEPS = 20 * (EPOCHS - 1)
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "fused kernels of the compiler": ("## Call CompiledFxGraph",),
    "optimizer": ("aten::_fused_adamw_", "Optimizer", "aten::_foreach"),
    "casts and copies": ("aten::copy_", "aten::_to_copy"),
    "gradient guard": ("aten::linalg_vector_norm", "aten::_foreach_norm"),
    "batches, gathered and scaled": ("aten::index_select", "aten::randperm"),
}
REST, BETWEEN = "other operations of torch", "Python, and waiting"


def main() -> None:
    """Profile the last epochs of short fits, and write the fractions."""
    warnings.simplefilter("ignore")  # of short fits
    sys.path.insert(0, str(HERE))
    from cases import CASES

    case, measured = CASES["MLP 784-400-20"], []
    for batch in BATCHES:
        for compiled in (False, True):
            rows = case.rows()[: 20 * batch]
            given: dict[str, Any] = {"batch_size": batch, "compile": compiled, "max_epochs": EPOCHS, "random_state": 0}
            plain, watched = Watch(), Watch(profile(activities=[ProfilerActivity.CPU]))
            for watch in (plain, watched):
                vae_of(case, callbacks=[watch], **given).fit(rows)
            print(batch, compiled, plain.seconds, watched.seconds, flush=True)
            measured.append({"batch": batch, "compiled": compiled, "ms_a_step": 1e3 * plain.seconds / STEPS})
            measured[-1]["shares"] = fractions(watched.profiler.key_averages(), watched.seconds)
    write("anatomy", {"case": "MLP 784-400-20", "steps": STEPS, "raw": measured})


class Watch:
    """Times the epochs of a fit, and profiles them with a profiler, except the first, in which it compiles."""

    def __init__(self, profiler: Any = None) -> None:
        self.profiler = profiler
        self.ends: list[float] = []

    def __call__(self, row: dict[str, Any]) -> None:
        self.ends.append(row["seconds"])
        if self.profiler is not None and len(self.ends) == 1:
            self.profiler.start()
        if self.profiler is not None and len(self.ends) == EPOCHS:
            self.profiler.stop()

    @property
    def seconds(self) -> float:
        return self.ends[-1] - self.ends[0]


def fractions(events: Any, seconds: float) -> dict[str, float]:
    """Return the fraction of the wall clock by kind of work; torch's own threads are not counted twice."""
    spent = dict.fromkeys([*KINDS, REST], 0.0)
    for event in events:
        kind = next((kind for kind, starts in KINDS.items() if event.key.startswith(starts)), REST)
        spent[kind] += event.self_cpu_time_total / 1e6 / seconds
    return spent | {BETWEEN: max(0.0, 1 - sum(spent.values()))}


if __name__ == "__main__":
    main()
