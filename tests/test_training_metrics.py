"""The history of a fit: each part of a loss has a name, and the parts add up to it."""

import math

import pytest
import torch
from torch import nn

from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Sizes
from latentmap.objectives import ELBO, MMD, VAEGAN, CodeNorm, NeighborEmbedding, Objective, Penalty, SemiSupervised
from latentmap.objectives.base import MODEL
from latentmap.training.loop import Settings, Trainer
from latentmap.training.metrics import parts_of
from parts import OBJECTIVES, QUANTIZERS, name

MLP = networks.MLP((8,))
DATA = torch.rand(60, 6, generator=torch.Generator().manual_seed(0))
GRAPH = torch.stack([torch.arange(1, 61).remainder(60), torch.full((60,), -1)], 1)
CLASSES = torch.eye(3).repeat(20, 1)
CLASSES[::4] = 0.0


def history(objective, posterior=posteriors.Gaussian(), graph=None, condition=None, gain=0.0, **settings):
    torch.manual_seed(0)
    sizes = Sizes((6,), 2, condition=0 if condition is None else 3, some_labels=condition is not None)
    model = GenerativeAutoencoder(Parts(MLP, MLP, posterior, priors.Normal(), likelihoods.Gaussian()), sizes)
    settings = Settings(**{"max_epochs": 8, "batch_size": 12, "learning_rate": 1e-2, "seed": 0} | settings)
    held = {"held_out_graph": graph[:20]} if graph is not None else {}
    held |= {"held_out_condition": condition[:20]} if condition is not None else {}
    given = {"graph": graph, "condition": condition, "gain": gain} | held
    rows = Trainer(model, objective, nn.Identity(), DATA, DATA[:20], settings, **given).run()
    assert len(rows) == 2
    return rows


def assert_adds_up(row, prefix=""):
    parts = parts_of(row, prefix)
    assert math.fsum(parts.values()) == pytest.approx(row[prefix + "loss"], abs=1e-5 * sum(map(abs, parts.values())))


FITS = {
    **{name(objective): {"objective": objective} for objective in OBJECTIVES},
    **{name(part): {"objective": ELBO(beta=0.0), "posterior": part} for part in QUANTIZERS},
    "autoencoder": {"objective": ELBO(beta=0.0), "posterior": posteriors.Deterministic()},
    "no rate": {"objective": ELBO(beta=0.0)},
    "vae-gan": {"objective": VAEGAN(beta=3.0, network=MLP, width=8)},
    "classes": {"objective": SemiSupervised(), "condition": CLASSES},
    "half precision": {"objective": NeighborEmbedding(), "graph": GRAPH, "dtype": torch.bfloat16},
    **{f"neighbours, {name(o)}": {"objective": NeighborEmbedding(o), "graph": GRAPH} for o in OBJECTIVES[:11]},
}


@pytest.mark.parametrize("fit", FITS)
def test_the_named_parts_add_up_to_the_loss(fit):
    rows = history(**FITS[fit])
    for row in rows:
        for prefix in ("", "val_"):
            assert_adds_up(row, prefix)
            parts = parts_of(row, prefix)
            assert "penalty" not in parts
            for part, value in parts.items():
                if abs(value) > 1e-3 * sum(map(abs, parts.values())):
                    with pytest.raises(AssertionError):  # the control: each of them is needed
                        assert_adds_up({key: v for key, v in row.items() if key != prefix + part}, prefix)
    assert rows[0].keys() == rows[1].keys()


def test_parts_have_the_names_of_what_they_are():
    def named(*given, **further):
        return [*parts_of(history(*given, **further)[0])]

    assert named(ELBO()) == ["distortion", "rate"]
    assert named(ELBO(beta=2.0)) == named(ELBO(warmup=0.1)) == ["distortion", "rate", "rate_weighting"]
    two = ELBO(penalties=(MMD(), CodeNorm(), MMD(2.0)))
    assert named(two) == ["distortion", "rate", "mmd", "code_norm", "mmd_2"]
    assert named(ELBO(0.0), QUANTIZERS[0]) == ["distortion", "rate", "commitment"]
    assert named(OBJECTIVES[4]) == ["distortion", "rate", "importance_weighting"]
    assert named(NeighborEmbedding(), graph=GRAPH) == ["distortion", "rate", "neighbors", "global_correlation"]
    assert named(NeighborEmbedding(global_weight=0.0), graph=GRAPH) == ["distortion", "rate", "neighbors"]


def test_distortion_and_rate_are_those_of_the_bound_whatever_the_weights():
    for objective in (ELBO(beta=4.0), ELBO(free_bits=5.0), ELBO(penalties=(CodeNorm(3.0),))):
        torch.manual_seed(0)
        model = GenerativeAutoencoder(
            Parts(MLP, MLP, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian()), Sizes((6,), 2)
        )
        settings = Settings(max_epochs=4, batch_size=12, learning_rate=1e-2, seed=0)
        (row,) = Trainer(model, objective, nn.Identity(), DATA, DATA[:20], settings).run()
        with torch.no_grad():
            q = model.encode(DATA[:20])
            rate = 0.5 * (q.mean**2 + q.variance - 1 - q.variance.log()).sum(1).mean()
            trace = model.trace(DATA[:20], 2000)
            distortion = 0.5 * ((DATA[:20] - trace.px.mean) / trace.px.stddev).square() + trace.px.stddev.log()
            distortion = (distortion + 0.5 * math.log(2 * math.pi)).sum(-1).mean()
        assert row["val_rate"] == pytest.approx(rate.item(), rel=1e-4)
        assert row["val_distortion"] == pytest.approx(distortion.item(), abs=0.2)
        assert abs(row["val_loss"] - row["val_distortion"] - row["val_rate"]) > 0.02  # the control: another loss


# ---- objectives and penalties of one's own


class Unnamed(Objective):
    """Gives its loss alone."""

    def losses(self, own, model, trace, progress):
        return {MODEL: trace.distortion.mean() + 3 * trace.rate.mean()}


class Extended(ELBO):
    """Adds to the loss without a name."""

    def losses(self, own, model, trace, progress):
        losses = dict(super().losses(own, model, trace, progress))
        return losses | {MODEL: losses[MODEL] + 5.0 * progress}


class Progress(Penalty):
    """Has the name of another entry."""

    def cost(self, own, model, trace):
        return trace.distortion.mean() * 0 + 7.0


@pytest.mark.parametrize("objective", [Unnamed(), Extended(), NeighborEmbedding(Unnamed())], ids=name)
def test_what_has_no_name_is_a_penalty(objective):
    for row in history(objective, graph=GRAPH if isinstance(objective, NeighborEmbedding) else None):
        assert_adds_up(row)
        assert_adds_up(row, "val_")
        expected = 5.0 if isinstance(objective, Extended) else 2 * row["val_rate"]
        assert row["val_penalty"] == pytest.approx(expected, rel=1e-3)


def test_a_penalty_takes_no_other_entry_s_name():
    row = history(ELBO(penalties=(Progress(2.0),)))[-1]
    assert row["progress"] == 1.0 and row["progress_2"] == 14.0
    assert_adds_up(row)


# ---- change of units


@pytest.mark.parametrize("each", [False, True])
def test_a_change_of_units_moves_loss_and_distortion_and_nothing_else(each):
    plain = history(ELBO(beta=2.0))
    moved = history(ELBO(beta=2.0), gain=(lambda x: 1000.0 * x[:, 0]) if each else -1000.0)
    for row, other in zip(plain, moved, strict=True):
        for prefix in ("", "val_"):
            rows = DATA if prefix == "" else DATA[:20]
            gained = 1000.0 * rows[:, 0].mean().item() if each else -1000.0
            for key in ("loss", "distortion"):
                assert other[prefix + key] == pytest.approx(row[prefix + key] - gained, rel=1e-5)
            for key in ("rate", "rate_weighting"):
                assert other[prefix + key] == row[prefix + key]
            assert_adds_up(other, prefix)
