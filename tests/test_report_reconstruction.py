"""How well reconstructions are, in words: columns that run in a circle are compared around it."""

import re

import numpy as np
import pandas as pd
import pytest

from latentmap import VAE
from latentmap.report.reconstruction import reconstruction

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def test_hours_are_compared_around_the_day():
    rng = np.random.default_rng(0)
    hour = (23 + rng.integers(-3, 4, size=400)) % 24
    hour[:80] = rng.integers(24, size=80)
    frame = pd.DataFrame({"hour": hour, "x": rng.normal(size=400), "c": ["a", "b"] * 200})
    vae = VAE(2, random_state=0, max_epochs=1, neighbors=None).fit(frame)
    assert vae.table_.columns[0].period == 24
    rows = vae.encode_table(frame)
    late = rows.copy()
    late[:, 0] = (late[:, 0] + 2) % 24

    def said(decoded):
        return reconstruction(rows, decoded, rows, vae, (3,), ["hour", "x", "c"])

    off = [float(re.search(r"worst hour ([\d.]+)", said(decoded).note)[1]) for decoded in (late, rows + [2, 0, 0])]
    from_middle = (rows[:, 0] - 23 + 12) % 24 - 12
    assert off == pytest.approx([2 / from_middle.std()] * 2, rel=0.1), "two hours off, whatever the hour"
    before = rows.copy()
    rows[::3, 0] = np.nan
    holes = reconstruction(rows, late, rows, vae, (3,), ["hour", "x", "c"])
    rows[:] = before
    off.append(float(re.search(r"worst hour ([\d.]+)", holes.note)[1]))
    assert off[2] == pytest.approx(off[0], rel=0.15) and "left out" not in holes.note
    fixed = late.copy()
    fixed.flags.writeable = False
    assert said(fixed) == said(late)
    assert float(said(late).value.split("%")[0].split(" ")[0]) > 80
