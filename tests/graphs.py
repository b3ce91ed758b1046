"""Which objectives have a step that is one graph: a process of its own, because the tests' shape checks break graphs.

python tests/graphs.py prints {objective: reason it is not one graph, or null}.
"""

import copy
import json
import sys

import torch

from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.noise import Recorded, Replayed, generator_for
from latentmap.model.part import Sizes
from latentmap.objectives import ELBO, NeighborEmbedding
from latentmap.training.loop import Settings, Trainer
from parts import OBJECTIVES, QUANTIZERS, name

EVERY = [*OBJECTIVES, NeighborEmbedding()]


def trainer(objective, posterior=posteriors.Gaussian()):
    """Make a fit of a small model that has not begun."""
    torch.manual_seed(0)
    network = networks.MLP((16,))
    parts = Parts(network, network, posterior, priors.Normal(), likelihoods.Gaussian())
    model = GenerativeAutoencoder(parts, Sizes(event=(12,), latent=2))
    settings = Settings(max_epochs=1, batch_size=16, learning_rate=1e-3, seed=0)
    return Trainer(model, objective, torch.nn.Identity(), torch.rand(32, 12), None, settings)


def fault(losses, *arguments, model=None):
    """Compile without a compiler behind it, compare with the plain losses, and say what went wrong, if anything."""
    try:
        before = copy.deepcopy(model.state_dict()) if model else {}
        recorded = Recorded(generator_for(1))
        expected = losses(*arguments, recorded)[0]
        if model:  # a step moves codebooks
            model.load_state_dict(before)
        draws = recorded.again(generator_for(1))

        def replayed(*arguments):
            return losses(*arguments[:-1], Replayed(arguments[-1]))

        given = torch.compile(replayed, fullgraph=True, backend="eager")(*arguments, draws)[0]
        torch.testing.assert_close(dict(given), dict(expected), rtol=1e-4, atol=1e-4)
    except Exception as error:  # whatever it is, it is the answer
        return str(error)
    return None


def broken(rows, progress, near, noise):
    """Leave the graph for Python in the middle: the control."""
    torch._dynamo.graph_break()
    return {"model": rows.sum()}, rows


if __name__ == "__main__":
    answers = {}
    for objective in EVERY:
        fit = trainer(objective)
        near = fit.feed.data[16:] if isinstance(objective, NeighborEmbedding) else None
        answers[name(objective)] = fault(fit._losses, fit.feed.data[:16], torch.tensor(0.5), near)
        torch._dynamo.reset()
    for posterior in QUANTIZERS:
        fit = trainer(ELBO(beta=0.0), posterior)
        answers[name(posterior)] = fault(fit._losses, fit.feed.data[:16], torch.tensor(0.5), None, model=fit.model)
        torch._dynamo.reset()
    answers["control"] = fault(broken, torch.ones(3), torch.tensor(0.5), None)
    json.dump(answers, sys.stdout)
