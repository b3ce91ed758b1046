"""A fit that is killed or interrupted goes on from its checkpoint bit for bit, whatever the model and the data."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn

from latentmap import VAE, Autoencoder, load, priors
from latentmap.exceptions import DataError, InterruptedWarning, ModelError, PartError, ResumeWarning
from latentmap.training.checkpoint import Checkpoint, Checkpoints
from test_estimators_threads import DIGITS, FITS, LABELS, QUICK, TINY
from test_training_state import same

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

ROWS = DIGITS.reshape(48, 36)
HOLES = np.where(ROWS < 0.2, np.nan, ROWS)
TABLE = pd.DataFrame({"a": ROWS[:, 0], "b": list("uvw") * 16, "c": [1, 2, 3, None] * 12, "d": LABELS})
EVEN = np.where(np.arange(48) % 4, LABELS, -1)
MORE = {
    "held-out rows": (QUICK | {"early_stopping": True, "max_epochs": 6}, ROWS),
    "missing cells": (QUICK, HOLES),
    "table": (QUICK, TABLE),
    "sparse": (QUICK, scipy.sparse.csr_matrix(np.where(ROWS < 0.7, 0, ROWS))),
    "bytes": (QUICK, (255 * DIGITS).astype(np.uint8)),
    "fitted prior": (QUICK | {"prior": priors.TwoStage(8)}, ROWS),
    "generator": (QUICK | {"random_state": np.random.default_rng(3)}, ROWS),
    "chosen components": (QUICK | {"n_components": "auto"}, ROWS),
    "time budget": (QUICK | {"time_budget": 1000.0}, ROWS),
}
EVERY = {name: (settings, DIGITS) for name, settings in FITS.items()} | MORE


class Killed(BaseException):
    """What stands for the end of the process."""


class Ending(Checkpoints):
    """Checkpoints after each step, of a process that ends at a step: killed, or asked to stop."""

    def __init__(self, folder, step, *, kill):
        super().__init__(folder, every=0.0)
        self.step, self.kill = step, kill

    def after_step(self, trainer):
        """End at the step."""
        if trainer.step == self.step and not self.kill:
            self.stop()
        super().after_step(trainer)
        if trainer.step == self.step and self.kill:
            raise Killed


def estimator_of(name):
    settings = {"n_components": 4 if EVERY[name][0].get("neighbors") is None else 2, "random_state": 0}
    settings |= EVERY[name][0]
    if isinstance(settings["random_state"], np.random.Generator):
        settings["random_state"] = np.random.default_rng(3)
    return VAE(**settings)


def outcome(vae):
    """Everything that a fit leaves, but for the seconds."""
    timed = ("seconds", "rows_per_second")
    history = [{name: value for name, value in row.items() if name not in timed} for row in vae.history_]
    weights = {name: value.clone() for name, value in vae.state_.module.state_dict().items()}
    return weights, history, vae.code_mean_.tolist(), vae.n_iter_, vae.interrupted_, vae.seed_


@pytest.mark.parametrize("name", EVERY)
def test_a_killed_fit_goes_on_bit_for_bit(name, tmp_path):
    rows = EVERY[name][1]
    y = EVEN if name == "some labels" else LABELS
    whole = estimator_of(name).fit(rows, y)
    steps = [2, 5] if name != "chosen components" else [1, 5]
    for step, kill in zip(steps, (True, False), strict=True):
        ended = estimator_of(name)
        checkpoints = Ending(tmp_path, step, kill=kill)
        if kill:
            with pytest.raises(Killed):
                ended.fit(rows, y, checkpoint=checkpoints)
        else:
            assert ended.fit(rows, y, checkpoint=checkpoints, resume=True).interrupted_
    resumed = estimator_of(name).fit(rows, y, checkpoint=tmp_path, resume=True)
    assert same(outcome(resumed), outcome(whole))
    assert not same(outcome(ended), outcome(whole)), "control"
    again = estimator_of(name).fit(rows, y, checkpoint=tmp_path, resume=True)
    assert same(outcome(again), outcome(whole)), "the checkpoint at the end of a fit is that of the finished fit"


def test_a_streamed_fit_goes_on(tmp_path):
    path, rows = tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(4000, 80)).astype(np.float32)
    np.save(path, rows)

    def vae():
        return VAE(2, encoder=TINY, decoder=TINY, memory="1MB", batch_size=64, max_epochs=3, random_state=0)

    whole = vae().fit(path)
    assert "blocks" in whole.choices_["memory"]
    with pytest.raises(Killed):
        vae().fit(path, checkpoint=Ending(tmp_path / "c", 70, kill=True))
    assert same(outcome(vae().fit(path, checkpoint=tmp_path / "c", resume=True)), outcome(whole))


def test_an_interrupted_fit_goes_on_in_memory_and_after_saving(tmp_path):
    settings = QUICK | {"random_state": 0, "max_epochs": 4}
    whole = VAE(2, **settings).fit(ROWS)

    def interrupt(row, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    late = settings | {"batch_size": 2, "max_epochs": 4}
    whole = VAE(2, **late).fit(ROWS)
    vae = VAE(2, **late, callbacks=[interrupt])
    with pytest.warns(InterruptedWarning):
        vae.fit(ROWS)
    vae.save(tmp_path / "run")
    vae.set_params(callbacks=None)
    assert same(outcome(vae.fit(ROWS, resume=True)), outcome(whole))
    assert vae.state_.trainer is None
    loaded = load(tmp_path / "run")
    assert loaded.interrupted_ and same(outcome(loaded.fit(ROWS, resume=True)), outcome(whole))
    loaded.save(tmp_path / "run")
    assert not (tmp_path / "run" / "trainer.safetensors").exists()
    with pytest.raises(PartError, match="resume=True continues an interrupted fit, and this estimator has none"):
        loaded.fit(ROWS, resume=True)


def test_pieces_go_on_after_saving(tmp_path):
    """In another process too, where nothing but the run is left."""
    first, second = ROWS[:24], ROWS[24:]
    whole = VAE(2, **QUICK, random_state=0).partial_fit(first)
    whole.save(tmp_path / "run")
    whole.partial_fit(second)
    again = load(tmp_path / "run").partial_fit(second)
    assert same(outcome(again), outcome(whole))
    forgetful = load(tmp_path / "run")
    forgetful.state_.trainer.state["optimizers"] = {name: {} for name in forgetful.state_.trainer.state["optimizers"]}
    assert not same(outcome(forgetful.partial_fit(second)), outcome(whole)), "control"


def test_a_warm_start_is_resumed_from_the_same_fit(tmp_path):
    def first():
        return VAE(2, **QUICK, random_state=0, warm_start=True).fit(ROWS)

    whole = first().fit(ROWS)
    with pytest.raises(Killed):
        first().fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    assert same(outcome(first().fit(ROWS, checkpoint=tmp_path, resume=True)), outcome(whole))
    with pytest.raises(ModelError, match="earlier_epochs was 2, is 0"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)


CHANGES = {
    "the data have changed": lambda vae: vae.fit(ROWS + 1e-3, checkpoint=CHANGES["folder"], resume=True),
    "rows was 48, is 47": lambda vae: vae.fit(ROWS[1:], checkpoint=CHANGES["folder"], resume=True),
    "learning_rate was None, is 0.01": lambda vae: vae.set_params(learning_rate=0.01),
    "max_epochs was 2, is 3": lambda vae: vae.set_params(max_epochs=3),
    "random_state was 0, is 1": lambda vae: vae.set_params(random_state=1),
    "prior": lambda vae: vae.set_params(prior=priors.Mixture(3)),
}


@pytest.mark.parametrize("message", CHANGES)
def test_another_fit_is_refused_with_what_differs(message, tmp_path):
    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    CHANGES["folder"] = tmp_path
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    vae = VAE(2, **QUICK, random_state=0)
    with pytest.raises(ModelError, match=f"the checkpoint is of another fit: .*{message}") as found:
        CHANGES[message](vae).fit(ROWS, checkpoint=tmp_path, resume=True)
    CHANGES.pop("folder")
    assert "\n" not in str(found.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_labels_and_versions_are_compared_too(tmp_path, monkeypatch):
    vae = VAE(2, **QUICK, condition="labels", random_state=0)
    with pytest.raises(Killed):
        vae.fit(DIGITS, LABELS, checkpoint=Ending(tmp_path, 4, kill=True))
    with pytest.raises(ModelError, match="the labels have changed"):
        vae.fit(DIGITS, np.roll(LABELS, 1), checkpoint=tmp_path, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "1.0")
        with pytest.raises(ModelError, match=r"torch was '2.*', is '1.0'"):
            vae.fit(DIGITS, LABELS, checkpoint=tmp_path, resume=True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX")
    with pytest.warns(ResumeWarning, match="instructions was .*, is 'AVX': the resumed fit may differ"):
        vae.fit(DIGITS, LABELS, checkpoint=tmp_path, resume=True)


class Noisy(nn.Module):
    """A network that draws from a generator of its own."""

    def __init__(self, generator):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(36, 8)
        self.source = generator

    def forward(self, x):
        """Add noise."""
        x = self.layer(x.flatten(1))
        if isinstance(self.source, torch.Generator):
            return x + torch.randn(x.shape, generator=self.source)
        return x + torch.from_numpy(self.source.normal(size=x.shape)).float()


def test_generators_of_own_modules_are_restored_or_refused(tmp_path):
    def vae(generator):
        return VAE(2, **QUICK | {"encoder": Noisy(generator), "max_epochs": 4}, neighbors=None, random_state=0)

    if not hasattr(torch.Generator(), "clone_state"):
        pytest.skip("a fit copies its modules")
    whole = vae(torch.Generator().manual_seed(1)).fit(ROWS)
    with pytest.raises(Killed):
        vae(torch.Generator().manual_seed(1)).fit(ROWS, checkpoint=Ending(tmp_path / "a", 5, kill=True))
    resumed = vae(torch.Generator().manual_seed(2)).fit(ROWS, checkpoint=tmp_path / "a", resume=True)
    assert same(outcome(resumed)[:2], outcome(whole)[:2])
    with pytest.raises(Killed):
        vae(np.random.default_rng(0)).fit(ROWS, checkpoint=Ending(tmp_path / "b", 5, kill=True))
    with pytest.raises(ModelError, match=r"the state of encoder.*source is not saved"):
        vae(np.random.default_rng(0)).fit(ROWS, checkpoint=tmp_path / "b", resume=True)


# ---- the folder


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    whole = VAE(2, **QUICK, random_state=0).fit(ROWS)
    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    before, last = sorted(tmp_path.iterdir())
    assert (before.name[:9], last.name[:9]) == ("000000003", "000000004")
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    with pytest.warns(ResumeWarning, match="000000004.* is damaged .* continues from the checkpoint before"):
        resumed = VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)
    assert same(outcome(resumed), outcome(whole))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ModelError, match="is damaged .* there is no other checkpoint; fit anew"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)


def test_an_empty_folder_begins_a_fit_and_a_new_fit_replaces_checkpoints(tmp_path):
    whole = VAE(2, **QUICK, random_state=0).fit(ROWS)
    assert same(
        outcome(VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path / "c", resume=True)), outcome(whole)
    )
    with pytest.raises(Killed):
        Autoencoder(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path / "c", 1, kill=True))
    facts = Checkpoints(tmp_path / "c").read().facts
    assert facts["class"] == "Autoencoder" and len(list((tmp_path / "c").iterdir())) == 1


def test_a_disk_that_is_full_does_not_end_a_fit(tmp_path, monkeypatch):
    def full(path, content):
        raise DataError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("latentmap.training.checkpoint.write_bytes", full)
    with pytest.warns(ResumeWarning, match="no checkpoint was written: cannot write .* No space left"):
        vae = VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path / "c")
    assert same(outcome(vae), outcome(VAE(2, **QUICK, random_state=0).fit(ROWS)))


def test_writing_takes_a_small_share_of_the_time(tmp_path):
    now = [0.0]
    checkpoints = Checkpoints(tmp_path, timer=lambda: now[0])
    written = []

    class Trainer:
        steps_per_epoch, batches, step, within_step = 100, 0, 0, False

        def unsaved(self):
            return []

        def state_dict(self):
            now[0] += 0.1
            written.append((self.step, now[0]))
            return {"a": torch.zeros(1)}

    trainer = Trainer()
    checkpoints.begin()
    for step in range(1, 60_001):
        now[0] += 0.01
        trainer.step, trainer.batches = step, (step - 1) % 100 + 1
        checkpoints.after_step(trainer)
    steps = [step for step, _ in written]
    assert steps[0] == 100 and all(step % 100 == 0 for step in steps)
    gaps = np.diff([seconds for _, seconds in written])
    assert gaps.min() >= 0.1 / 0.005 and gaps.max() < 0.1 / 0.005 + 2
    trainer.steps_per_epoch = 10**9
    for step in range(60_001, 90_001):
        now[0] += 0.01
        trainer.step = trainer.batches = step
        checkpoints.after_step(trainer)
    late = np.diff([seconds for step, seconds in written if step > 60_000])
    assert late.min() >= 60 and late.max() < 61


BAD = {
    "nothing": b"",
    "a header that is too long": (10**12).to_bytes(8, "little") + b"{}",
    "no checkpoint": b"\x02\0\0\0\0\0\0\0{}",
    "deep JSON": (200_000).to_bytes(8, "little") + b"[" * 200_000,
}


@pytest.mark.parametrize("name", BAD)
def test_other_bytes_are_no_checkpoint(name):
    with pytest.raises(ValueError, match=r"no checkpoint|no header"):
        Checkpoint.from_bytes(BAD[name])


@pytest.mark.parametrize("facts", [{}, {"seed": "a"}, {"seed": 0, "components": 2, "settings": {"dtype": "bool"}}])
def test_facts_that_no_fit_writes_are_refused(facts, tmp_path):
    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    saves = Checkpoints(tmp_path)
    saved = saves.read()
    saves.clear()
    content = Checkpoint(facts, saved.state).to_bytes()
    from latentmap.training.checkpoint import _hash

    tmp_path.mkdir(exist_ok=True)
    (tmp_path / f"000000004-{_hash(content)}.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="does not say which fit it is of"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)


SCRIPT = """
import sys, os, signal, numpy as np
from latentmap import VAE, networks
from latentmap.training.checkpoint import Checkpoints
class Ending(Checkpoints):
    def after_step(self, trainer):
        super().after_step(trainer)
        if trainer.step == 23:
            os.kill(os.getpid(), signal.SIGKILL)
rows = np.random.default_rng(0).normal(size=(200, 8)).astype("float32")
tiny = networks.MLP((8,))
vae = VAE(2, encoder=tiny, decoder=tiny, max_epochs=4, batch_size=16, random_state=0)
saves = {"kill": Ending(sys.argv[2], 0.0), "resume": Checkpoints(sys.argv[2]), "whole": None}[sys.argv[1]]
vae.fit(rows, checkpoint=saves, resume=sys.argv[1] == "resume")
vae.save(sys.argv[3])
"""


def test_a_process_that_is_killed_is_resumed_by_another(tmp_path):
    def run(what):
        command = [sys.executable, "-W", "ignore", "-c", SCRIPT, what, str(tmp_path / "c"), str(tmp_path / what)]
        return subprocess.run(command, capture_output=True, timeout=120).returncode

    assert run("whole") == 0 and run("kill") == -9 and not (tmp_path / "kill").exists() and run("resume") == 0
    whole, resumed = (json.loads((tmp_path / what / "config.json").read_text()) for what in ("whole", "resume"))
    assert whole["weights_sha256"] == resumed["weights_sha256"]


def test_a_warm_start_that_was_interrupted_goes_on(tmp_path):
    def fit(*callbacks):
        vae = VAE(2, **QUICK | {"batch_size": 2, "max_epochs": 3}, random_state=0, warm_start=True).fit(ROWS)
        return vae.set_params(callbacks=callbacks or None).fit(ROWS)

    def interrupt(row, progress):
        raise KeyboardInterrupt

    interrupted = fit(interrupt)
    interrupted.save(tmp_path / "run")
    whole = outcome(fit())
    for vae in (interrupted, load(tmp_path / "run")):
        vae.set_params(callbacks=None, warm_start=True)
        assert same(outcome(vae.fit(ROWS, resume=True)), whole)


def test_files_of_others_stay_in_the_folder(tmp_path):
    for name in (".12345678-notes", ".thesis.new-12345678", "mine.txt"):
        (tmp_path / name).mkdir()
    VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Checkpoints(tmp_path, every=0.0))
    assert len(list(tmp_path.iterdir())) == 3 + 2


def test_two_fits_do_not_share_a_folder(tmp_path):
    def other(row, progress):
        VAE(2, **QUICK, random_state=1).fit(ROWS, checkpoint=tmp_path)

    with pytest.raises(DataError, match="is being written by another"):
        VAE(2, **QUICK | {"batch_size": 2}, random_state=0, callbacks=[other]).fit(ROWS, checkpoint=tmp_path)


def test_a_fit_that_a_callback_stopped_has_ended(tmp_path):
    def stop(row, progress):
        progress.stop()

    settings = QUICK | {"batch_size": 2, "max_epochs": 5, "callbacks": [stop], "random_state": 0}
    first, again = (VAE(2, **settings).fit(ROWS, checkpoint=tmp_path, resume=True) for _ in range(2))
    assert first.n_iter_ == again.n_iter_ < 5 and same(outcome(first), outcome(again))


def test_checkpoints_stop_one_fit(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.stop()
    assert VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=checkpoints).interrupted_
    resumed = VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=checkpoints, resume=True)
    assert same(outcome(resumed), outcome(VAE(2, **QUICK, random_state=0).fit(ROWS)))


def test_columns_and_categories_are_compared(tmp_path):
    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(TABLE, checkpoint=Ending(tmp_path, 4, kill=True))
    others = TABLE.replace({"b": {"u": "x", "v": "y", "w": "z"}}), TABLE.rename(columns={"a": "A"})
    for other in others:
        with pytest.raises(ModelError, match="the names, kinds or categories of the columns have changed"):
            VAE(2, **QUICK, random_state=0).fit(other, checkpoint=tmp_path, resume=True)


class Hidden(Noisy):
    """A network whose noise comes from where no checkpoint looks, and that counts."""

    def __init__(self, kind):
        super().__init__(None)
        self.kind = kind
        self.sources = [np.random.default_rng(0)]
        self.register_buffer("moving", torch.zeros(1), persistent=False)
        self.calls = 0

    def forward(self, x):
        """Add noise."""
        x = self.layer(x.flatten(1))
        if self.training:
            if self.kind == "global":
                np.random.normal()
            elif self.kind == "listed":
                self.sources[0].normal()
            elif self.kind == "buffer":
                self.moving += 1
            else:
                self.calls += 1
        return x


@pytest.mark.parametrize(
    ("kind", "name"),
    [("global", "numpy's global generator"), ("listed", "sources"), ("buffer", "moving"), ("count", "calls")],
)
def test_state_that_is_not_saved_is_named(kind, name, tmp_path):
    def vae():
        return VAE(2, **QUICK | {"encoder": Hidden(kind)}, neighbors=None, random_state=0)

    before = np.random.get_state()
    with pytest.raises(Killed):
        vae().fit(ROWS, checkpoint=Ending(tmp_path, 3, kill=True))
    np.random.set_state(before)
    with pytest.raises(ModelError, match=f"the state of .*{name}.* is not saved"):
        vae().fit(ROWS, checkpoint=tmp_path, resume=True)


COUNTERS = {"epoch": None, "batches": 1.5, "restores": None, "rate_scale": 1e300, "step": 10**400, "best_evaluation": 9}


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_that_no_fit_has_are_refused(name, tmp_path):
    from latentmap.training.checkpoint import _hash

    with pytest.raises(Killed):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=Ending(tmp_path, 4, kill=True))
    saved = Checkpoints(tmp_path).read()
    saved.state["counters"][name] = COUNTERS[name]
    Checkpoints(tmp_path).clear()
    content = saved.to_bytes()
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / f"000000004-{_hash(content)}.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=f"counters.{name} is"):
        VAE(2, **QUICK, random_state=0).fit(ROWS, checkpoint=tmp_path, resume=True)
