"""Fit to a file within an amount of memory for some seconds; print rate and peak memory as JSON."""

import json
import sys
import time
from pathlib import Path

from measure import peak_mb


def main(path: str, memory: str, seconds: float) -> None:
    from latentmap import VAE

    start = time.perf_counter()
    vae = VAE(20, neighbors=None, memory=memory, time_budget=seconds, random_state=0).fit(Path(path))
    last = vae.history_[-1]
    print(
        json.dumps(
            {
                "rows_per_second": last["rows_per_second"],
                "steps": last["step"],
                "val_loss": last["val_loss"],
                "fit_seconds": vae.fit_seconds_,
                "all_seconds": time.perf_counter() - start,
                "peak_mb": peak_mb(),
                "memory": vae.choices_.get("memory"),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
