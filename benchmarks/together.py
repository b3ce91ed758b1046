"""Cost of several fits at once: with default threads, with one thread each, and with threads that sleep.

LATENTMAP_DATA=folder python -m benchmarks.together [RUNS]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import mean

from benchmarks.common import HERE, spread, write

SETTINGS = {
    "as they come": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
}
JOBLIB = "workers of joblib"


def main(runs: int = 5) -> None:
    """Run, print, write together.json: seconds of a fit alone, and of each of as many at once as there are cores."""
    fits = os.cpu_count() or 1
    raw: dict[str, dict[str, list[float]]] = {name: {"alone": [], "together": []} for name in (*SETTINGS, JOBLIB)}
    for _ in range(runs):
        for name, variables in SETTINGS.items():
            raw[name]["alone"] += _seconds(variables, 1)
            raw[name]["together"].append(mean(_seconds(variables, fits)))
        for how, workers in (("alone", 1), ("together", fits)):
            raw[JOBLIB][how].append(mean(_seconds({}, 1, "joblib", str(workers))))
    summary = {name: {how: spread(seconds) for how, seconds in times.items()} for name, times in raw.items()}
    path = write("together", {"runs": runs, "fits": fits, "summary": summary, "raw": raw})
    print({name: {how: round(v["median"], 1) for how, v in times.items()} for name, times in summary.items()}, path)


def _seconds(variables: dict[str, str], processes: int, *arguments: str) -> list[float]:
    """Return the seconds of the fits of so many processes that start at once."""
    command = [sys.executable, str(HERE / "together_fit.py"), *arguments]
    started = [
        subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    answers = [process.communicate()[0] for process in started]
    return [seconds for answer in answers for seconds in json.loads(answer)]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
