"""Numbers that go wrong: any rows, learning rate or module give finite results, or one clear error."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import sparse
from torch import nn

from latentmap import VAE, Autoencoder, likelihoods, networks, recipes
from latentmap.data.schema import Schema
from latentmap.estimators.diagnosis import Facts, diagnose
from latentmap.exceptions import LatentmapError, NumericsError, NumericsWarning
from latentmap.training.gradients import GradientGuard
from latentmap.training.loop import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
TINY = networks.MLP((8,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 2, "random_state": 0}
PLAIN = QUICK | {"neighbors": None}
X = np.random.default_rng(0).normal(size=(200, 5))

MODELS = {
    "plain": lambda: VAE(2, **PLAIN),
    "map": lambda: VAE(2, **QUICK),
    "deep map": lambda: VAE(2, max_epochs=2, random_state=0),
    "autoencoder": lambda: Autoencoder(2, **QUICK),
    "iwae": lambda: VAE(2, **QUICK | recipes.iwae(k=3)),
    "beta_tc": lambda: VAE(2, **QUICK | recipes.beta_tc()),
    "critic": lambda: VAE(2, **QUICK | recipes.factor(network=TINY)),
    "game": lambda: VAE(2, **QUICK | recipes.aae(network=TINY)),
    "quantised": lambda: VAE(2, **QUICK | recipes.vq(codes=8)),
    "missing": lambda: VAE(2, likelihood=likelihoods.Incomplete(likelihoods.Gaussian("feature")), **PLAIN),
    "conditional": lambda: VAE(2, condition="covariates", **QUICK),
}
DTYPES = ["float16", "float32", "float64", "longdouble", "int8", "int32", "int64", "uint8", "bool", "object"]
KINDS = {
    "as they are": lambda x, rng: x,
    "of a scale": lambda x, rng: x * 10.0 ** rng.integers(-30, 31),
    "of many scales": lambda x, rng: x * 10.0 ** rng.integers(-30, 31, x.shape[1:]),
    "far from zero": lambda x, rng: x + 1e8,
    "faint around one": lambda x, rng: x * 1e-30 + 1,
    "with a constant": lambda x, rng: np.concatenate([0 * x[:, :1] + rng.choice([0, 1e30, 1e-30]), x[:, 1:]], 1),
    "repeated": lambda x, rng: x[rng.integers(0, max(1, len(x) // 3), len(x))],
    "all equal": lambda x, rng: np.broadcast_to(x[:1] * 10.0 ** rng.integers(-30, 31), x.shape).copy(),
    "two different": lambda x, rng: x[rng.integers(0, 2, len(x))],
    "with an outlier": lambda x, rng: np.concatenate([x[:-1], x[-1:] * 10.0 ** rng.integers(2, 31)]),
    "collinear": lambda x, rng: x[:, :1] + 1e-9 * x,
    "heavy-tailed": lambda x, rng: x**15,
    "with holes": lambda x, rng: np.where(rng.random(x.shape) < 0.3, np.nan, x),
    "with infinities": lambda x, rng: np.where(rng.random(x.shape) < 0.05, np.inf, x),
}  # fmt: skip
SHAPES = [(1,), (2,), (3,), (6,), (4, 4), (5, 3), (4, 4, 3)]


def outcomes(model, rows, y):
    """Everything that a fitted model computes from rows, and its weights."""
    yield from ((name, v) for name, v in model.state_.module.state_dict().items() if v.is_floating_point())
    yield "codes", model.transform(rows, **y)
    yield "reconstruction", model.reconstruct(rows, **y)
    yield "samples", model.sample(4, random_state=0, **({"y": y["y"][[0] * 4]} if y else {}))
    if model.has_score_:
        yield "scores", model.score_samples(rows, **y)
    if model.takes_missing_:
        yield "imputed", model.impute(rows, **y)


@pytest.mark.parametrize("name", MODELS)
@settings(
    max_examples=15, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    kind=st.sampled_from(sorted(KINDS)),
    dtype=st.sampled_from(DTYPES),
    shape=st.sampled_from(SHAPES),
    n=st.sampled_from([2, 3, 5, 20, 200]),
    seed=st.integers(0, 2**16),
)
def test_any_rows_give_finite_results_or_a_clear_error(name, kind, dtype, shape, n, seed):
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = KINDS[kind](rng.normal(size=(n, *shape)), rng).astype(dtype)
        y = {"y": rng.normal(size=(n, 1))} if name == "conditional" else {}
        model = MODELS[name]()
        try:
            model.fit(rows, **y)
        except LatentmapError as error:
            assert not isinstance(error, NumericsError) and "\n" not in str(error)
            values = rows.astype("float64")
            assert not np.isfinite(values).all() or np.abs(values).max() > 2**53  # the only rows that are refused
            return
        for what, values in outcomes(model, rows, y):
            assert np.isfinite(np.asarray(values, dtype="float64")).all(), what
    assert np.isfinite([row["loss"] for row in model.history_]).all()
    if (rows == rows[0]).all():
        assert str(model.findings_[0]).startswith("all rows are equal")


@pytest.mark.parametrize("name", ["deep map", "plain", "autoencoder", "quantised"])
@pytest.mark.parametrize("value", [0.0, 1.0, -3e30, 1e-30])
def test_equal_rows_are_the_first_finding_and_train_without_a_skipped_step(name, value):
    model = MODELS[name]().fit(np.full((30, 3), value))
    first, *others = model.findings_
    assert first.kind == "equal" and first.warning == "ConstantFeatureWarning"
    assert {finding.kind for finding in others} <= {"components", "distortion"}
    np.testing.assert_allclose(model.reconstruct(np.full((2, 3), value)), value, rtol=0.5, atol=2)
    varied = MODELS[name]().fit(np.random.default_rng(0).normal(size=(30, 3)))
    assert "equal" not in {finding.kind for finding in varied.findings_}  # the control


EQUAL = pd.DataFrame({"x": 1.5, "k": "a", "day": pd.Timestamp("2020-01-01"), "n": 3, "b": True}, index=range(30))


def written(path, frame=EQUAL):
    getattr(frame, {".csv": "to_csv", ".parquet": "to_parquet"}[path.suffix])(path, index=False)
    return path


def images(folder):
    folder.mkdir()
    for i in range(30):
        Image.new("L", (8, 8), 7).save(folder / f"{i}.png")
    return folder


EQUALS = {
    "frame": lambda folder: EQUAL,
    "text": lambda folder: EQUAL[["k"]],
    "numbers": lambda folder: EQUAL[["x", "n"]],
    "beside an id": lambda folder: EQUAL.assign(id=range(30)),
    "csv": lambda folder: written(folder / "x.csv"),
    "parquet": lambda folder: written(folder / "x.parquet"),
    "images": lambda folder: images(folder / "x"),
    "sparse": lambda folder: sparse.csr_matrix(np.full((30, 3), 2)),
    "empty sparse": lambda folder: sparse.csr_matrix((30, 3)),
}


@pytest.mark.parametrize("name", EQUALS)
def test_equal_rows_of_every_kind_train(name, tmp_path):
    rows = EQUALS[name](tmp_path)
    model = MODELS["plain"]().fit(rows)
    assert model.findings_[0].kind == "equal"
    made = model.sample(4, random_state=0)
    assert len(made) == 4
    if isinstance(rows, pd.DataFrame) and "k" in rows:
        assert set(made["k"]) == {"a"}


@pytest.mark.parametrize("rate", [0.0, 0.03, -0.02, 0.3])
def test_findings_do_not_say_that_active_components_carry_nothing(rate):
    schema = Schema(10, (2,), "float64", None, 0.0, 1.0, False)
    facts = Facts([], np.array([True, True]), rate, likelihoods.Gaussian(), schema, 0, 0)
    message = diagnose(facts)[0].message
    carried = "less than 0.05" if rate < 0.05 else "0.3"
    assert message == f"2 of 2 components are active; all together carry {carried} nats a row"


def kinds_of(model):
    return {finding.kind: str(finding) for finding in model.findings_}


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("rate", [10.0, 1e3])
def test_an_extreme_learning_rate_is_lowered_until_the_fit_works(rate, early_stopping):
    settings = {"learning_rate": rate, "early_stopping": early_stopping, "max_epochs": 40}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = VAE(2, **PLAIN | settings).fit(X)
    assert np.isfinite(model.transform(X)).all() and model.loss_ < 1e4
    warned = [warning for warning in caught if warning.category is NumericsWarning]
    restored = [row for row in model.history_ if row.get("restored")]
    assert len(warned) == bool(restored) and ("skipped" in kinds_of(model)) == bool(restored)
    if rate == 1e3:
        assert "the last good weights were restored with a lower learning rate" in kinds_of(model)["skipped"]


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_fit_that_never_was_finite_is_an_error(early_stopping):
    vae = VAE(2, learning_rate=1e6, early_stopping=early_stopping, **PLAIN)
    with pytest.raises(NumericsError, match=r"not finite, or exploded, at all \d evaluation.* lower learning_rate"):
        vae.fit(X)
    assert not hasattr(vae, "model_")
    vae.set_params(learning_rate=1e-2).fit(X)
    kept = vae.state_
    with pytest.raises(NumericsError):
        vae.set_params(learning_rate=1e6, warm_start=True).fit(X)
    assert vae.state_ is kept


class Failing(nn.Module):
    """A network that returns NaN from one training batch to another, and keeps running statistics of it."""

    def __init__(self, first, last=10**9, everywhere=False):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.first, self.last, self.everywhere, self.calls = first, last, everywhere, 0

    def forward(self, x):
        self.calls += self.training
        failing = self.first < self.calls <= self.last and (self.training or self.everywhere)
        return self.layers(x * torch.nan if failing else x)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("module", [Failing(30), Failing(30, 33), Failing(0, 2)], ids=["on", "in between", "at first"])
def test_a_module_that_returns_nan_keeps_the_last_good_weights(module, early_stopping):
    model = VAE(2, early_stopping=early_stopping, **PLAIN | {"encoder": module, "max_epochs": 15})
    with pytest.warns(NumericsWarning, match=r"\d+ of \d+ steps were skipped") as caught:
        model.fit(X)
    assert len([w for w in caught if w.category is NumericsWarning]) == 1
    for what, values in outcomes(model, X, {}):
        assert np.isfinite(np.asarray(values)).all(), what
    assert model.evaluation_ is not None and np.isfinite(model.loss_)


def test_a_module_that_goes_on_returning_nan_is_an_error():
    module = Failing(30, everywhere=True)
    with pytest.raises(NumericsError, match="the encoder returns values that are not finite for 200 of 200 rows"):
        VAE(2, **PLAIN | {"encoder": module, "max_epochs": 15}).fit(X)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_batches_of_which_the_loss_is_not_finite_are_left_out(early_stopping, monkeypatch):
    """A spike in every tenth batch costs that batch, not the fit."""
    take = Trainer._take_step

    def spoilt(self, batch, progress):
        factor = 1e25 if self.step % 10 == 3 else 1.0  # its square overflows
        take(self, batch._replace(rows=batch.rows * factor), progress)

    monkeypatch.setattr(Trainer, "_take_step", spoilt)
    model = VAE(2, early_stopping=early_stopping, **PLAIN | {"max_epochs": 30}).fit(X)
    assert not any(row.get("restored") for row in model.history_)
    assert np.isfinite([row["loss"] for row in model.history_]).all() and model.history_[-1]["loss"] < 50
    assert "steps were skipped" in kinds_of(model)["skipped"]


def test_a_gradient_of_which_the_square_overflows_is_skipped():
    """The averages of the optimizer would be infinite from then on, and the weight frozen."""
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight], 0.1, fused=True)
    guard = GradientGuard(weight.device)
    for size in (1.0, 1e25, 1.0):
        weight.grad = torch.full((3,), size)
        before = weight.clone()
        guard.apply(optimizer, [weight.grad])
        optimizer.step()
        assert torch.equal(weight, before) == (size == 1e25)
    assert guard.skipped == 1 and optimizer.state[weight]["exp_avg_sq"].isfinite().all()


def test_use_of_quantised_codes_is_a_finding():
    used = kinds_of(VAE(2, **QUICK | recipes.vq(codes=8, pieces=1) | {"max_epochs": 20}).fit(X))["codes"]
    assert used.endswith("of 8 codes are used") and int(used.split()[0]) > 1
    assert "codes" not in kinds_of(VAE(2, **QUICK).fit(X))
