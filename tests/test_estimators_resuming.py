"""A fit that is killed or interrupted goes on from its checkpoint bit for bit, whatever the model and the data."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import nn

import latentmap
from latentmap import VAE, load, priors
from latentmap.exceptions import InterruptedWarning, ModelError, PartError, ResumeWarning
from latentmap.training.checkpoint import Checkpoints
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
    for module in (torch, np, latentmap):
        was = module.__version__
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "99.1")
            message = re.escape(f"another fit: {module.__name__} was {was!r}, is '99.1'; restore what differs")
            with pytest.raises(ModelError, match=message):
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
