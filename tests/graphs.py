"""Which fits have a step that is one graph: a process of its own, because the tests' shape checks break graphs.

python tests/graphs.py prints {fit: reason its step is not one graph, or null}, and under "controls" the same of those
whose step was broken, each in a function that the steps of its kind alone go through.
"""

import copy
import json
import sys
from unittest import mock

import torch
from torch import nn

from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.ladder import compose
from latentmap.model.likelihoods.heterogeneous import HeterogeneousDistribution
from latentmap.model.likelihoods.incomplete import ObservedCells
from latentmap.model.noise import Replayed, generator_for
from latentmap.model.part import Sizes
from latentmap.model.posteriors import Quantized
from latentmap.objectives import ELBO, NeighborEmbedding, SemiSupervised, neighbors
from latentmap.training.loop import Settings, Trainer
from parts import OBJECTIVES, QUANTIZERS, name

MLP = networks.MLP((16,))
ROWS, FEATURES, CLASSES = 32, 12, 3
GRAPH = torch.stack([torch.arange(1, ROWS + 1).remainder(ROWS), torch.full((ROWS,), -1)], 1)
LABELS = torch.eye(CLASSES)[torch.arange(ROWS) % CLASSES]
SOME = LABELS * (torch.arange(ROWS) % 4 > 0)[:, None]
TABLE = likelihoods.Heterogeneous(
    (*[likelihoods.Gaussian("feature")] * 6, *[likelihoods.Categorical(3)] * 3, *[likelihoods.Poisson()] * 3)
)

FITS = {
    **{name(objective): {"objective": objective} for objective in OBJECTIVES},
    **{name(part): {"posterior": part, "objective": ELBO(beta=0.0)} for part in QUANTIZERS},
    "neighbours": {"objective": NeighborEmbedding(), "graph": GRAPH},
    "condition": {"condition": LABELS},
    "condition of the prior": {"condition": LABELS, "prior": priors.Conditional()},
    "some labels": {"condition": SOME, "objective": SemiSupervised()},
    "table": {"likelihood": TABLE},
    "missing cells": {"likelihood": likelihoods.Incomplete(TABLE)},
    "running scale": {"likelihood": likelihoods.Gaussian("optimal")},
    "ladder": {"below": (3,)},
}
CONTROLS = {
    "neighbours": (neighbors, "contrast"),
    "condition": (GenerativeAutoencoder, "_with_condition"),
    "some labels": (GenerativeAutoencoder, "classify"),
    "table": (HeterogeneousDistribution, "log_prob"),
    "missing cells": (ObservedCells, "log_prob"),
    "Quantized(codes=8, pieces=1, stages=1, commitment=0.25, decay=0.95)": (Quantized, "_search"),
}


def trainer(
    objective=ELBO(),
    posterior=posteriors.Gaussian(),
    prior=priors.Normal(),
    likelihood=likelihoods.Gaussian(),
    graph=None,
    condition=None,
    below=(),
):
    """Make a fit of a small model that has not begun."""
    torch.manual_seed(0)
    data = torch.cat([torch.rand(ROWS, 6), torch.randint(3, (ROWS, 3)) / 2, torch.randint(9, (ROWS, 3)).float()], 1)
    sizes = Sizes((FEATURES,), 2, below=below)
    if condition is not None:
        sizes = Sizes((FEATURES,), 2, condition=CLASSES, some_labels=not condition.any(1).all())
    model = compose(Parts(MLP, MLP, posterior, prior, likelihood), sizes, generator_for(0))
    settings = Settings(max_epochs=1, batch_size=16, learning_rate=1e-3, seed=0)
    return Trainer(model, objective, nn.Identity(), data, None, settings, graph=graph, condition=condition)


def taken(fit):
    """Give what the first step of a fit takes."""
    batch = next(fit.feed.epoch(0, 0, fit.batch, fit.gradient_step.generator))
    return batch.rows, torch.tensor(0.5), batch.condition


def losses(fit, step, arguments):
    """Give the losses of a step, and leave the model as it was: a step moves codebooks."""
    before = copy.deepcopy(fit.gradient_step.learned.state_dict())
    found = dict(step(*arguments)[0])
    fit.gradient_step.learned.load_state_dict(before)
    return found


def fault(fit):
    """Compile a step without a compiler behind it, compare with the plain one, and say what is wrong, if anything."""
    torch._dynamo.reset()
    step = fit.gradient_step
    try:
        arguments = taken(fit)
        draws = step._drawn(*arguments)
        expected = losses(fit, step.losses, (*arguments, Replayed(draws)))
        given = losses(fit, torch.compile(step._replayed, fullgraph=True, backend="eager"), (*arguments, draws))
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)
    except Exception as error:  # whatever it is, it is the answer
        return str(error)
    return None


def breaking(function):
    """Leave the graph for Python in the middle."""

    def broken(*arguments, **keywords):
        torch._dynamo.graph_break()
        return function(*arguments, **keywords)

    return broken


def control(fit):
    """Say what is wrong with a step that was broken."""
    place, function = CONTROLS[fit]
    with mock.patch.object(place, function, breaking(getattr(place, function))):
        return fault(trainer(**FITS[fit]))


if __name__ == "__main__":
    answers = {fit: fault(trainer(**given)) for fit, given in FITS.items()}
    json.dump({**answers, "controls": {fit: control(fit) for fit in CONTROLS}}, sys.stdout)
