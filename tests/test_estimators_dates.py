"""Dates and durations far from those of the fit: a value that their type can hold, with a warning, never an error."""

import numpy as np
import pandas as pd
import pytest

from latentmap import VAE, networks
from latentmap.cli import main
from latentmap.exceptions import OutOfRangeWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning"),
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.OutOfRangeWarning"),
]
TINY = networks.MLP((8,))
QUICK = {"encoder": TINY, "decoder": TINY, "neighbors": None, "max_epochs": 2, "random_state": 0}
N = 60
DRAW = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": DRAW.normal(size=N),
        "day": pd.date_range("2020-01-01", periods=N).date,
        "time": pd.date_range("2020-01-01 01:02:03", periods=N, freq="7h").astype("datetime64[us]"),
        "nano": pd.date_range("2020-01-01", periods=N, freq="7h").astype("datetime64[ns]"),
        "second": pd.date_range("2020-01-01", periods=N, freq="5h").astype("datetime64[s]"),
        "zoned": pd.date_range("2020-01-01", periods=N, tz="Europe/Zurich"),
        "span": pd.to_timedelta(DRAW.normal(size=N), unit="h"),
    }
)
DATES = list(FRAME.columns[1:])


def as_polars(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def as_arrow(frame):
    return pytest.importorskip("pyarrow").Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("back", [lambda frame: frame, as_polars, as_arrow], ids=["pandas", "polars", "pyarrow"])
def test_far_values_of_a_number_leave_dates_that_can_be(back):
    vae = VAE(2, **QUICK).fit(back(FRAME))
    vae.sample(3, random_state=0)
    for value in (1e10, 1e30, 1e300):
        far = FRAME.copy()
        far.loc[3, "x"] = value
        far.loc[5:9, "time"] = pd.NaT
        for made in (vae.reconstruct(back(far)), vae.impute(back(far), random_state=0)):
            assert len(made) == N
    with pytest.warns(OutOfRangeWarning, match="1 of 3 dates lie beyond 1677-09-23"):
        made = vae.inverse_transform(np.array([[0.0, 0.0], [1e30, 1e6], [1.0, -1.0]]))
    made = made if isinstance(made, pd.DataFrame) else made.to_pandas()
    assert not made[DATES].isna().any().any()
    assert made["nano"].dtype.kind == "M" and FRAME["nano"].dt.year.eq(2020).all()


def test_a_date_far_away(tmp_path):
    far = FRAME[["x", "day"]].copy()
    far.loc[3, "day"] = pd.Timestamp("9999-12-31").date()
    vae = VAE(2, **QUICK).fit(far)
    assert len(vae.sample(50, random_state=0)) == 50 and len(vae.reconstruct(far)) == N
    far.to_csv(tmp_path / "far.csv", index=False)
    run, out = tmp_path / "run", tmp_path / "made.csv"
    options = ["--epochs", "1", "--no-report", "--set", "neighbors=none"]
    assert main(["fit", str(tmp_path / "far.csv"), "-o", str(run), *options]) == 0
    np.save(tmp_path / "codes.npy", np.array([[1e30, 1e30], [-1e30, 1e6]]))
    assert main(["inverse", str(run), str(tmp_path / "codes.npy"), "-o", str(out)]) == 0
    assert pd.read_csv(out)["day"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()


def test_dates_of_the_fit_are_not_warned_of(recwarn):
    made = VAE(2, **QUICK).fit(FRAME).reconstruct(FRAME)
    assert not [one for one in recwarn if issubclass(one.category, OutOfRangeWarning)]
    assert made["second"].dtype == FRAME["second"].dtype
