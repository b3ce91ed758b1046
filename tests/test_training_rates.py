"""Layers share the learning rate by the number of their inputs: Adam's first step, which is the rate, shows it."""

import math

import pytest
import torch
from torch import nn

from conftest import fit
from latentmap import VAE
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Sizes
from latentmap.objectives import ELBO, PriorCritic
from latentmap.training.loop import Settings, Trainer
from latentmap.training.schedule import learning_rate_multipliers

RATE = 1e-3


def moved(largest):
    """Parameters by name, and how far the fastest element of each moves in one step, beside the rate."""
    torch.manual_seed(0)
    network = networks.MLP((1024, 16))
    parts = Parts(network, network, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian())
    model = GenerativeAutoencoder(parts, Sizes(event=(400,), latent=2))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    settings = Settings(
        max_epochs=1, batch_size=32, learning_rate=RATE, seed=0, largest_lr_multiplier=largest, constant_rate=True
    )
    Trainer(model, ELBO(), nn.Identity(), torch.rand(32, 400), None, settings).run()
    after = dict(model.named_parameters())
    return after, {name: float((after[name].detach() - old).abs().max()) / RATE for name, old in before.items()}


@pytest.mark.parametrize("largest", [1.0, 1.5, 3.0])
def test_a_layer_moves_by_its_inputs(largest):
    parameters, found = moved(largest)
    inputs = {name: value.shape[1] for name, value in parameters.items() if value.ndim == 2}
    assert {400, 1024, 16, 2} <= set(inputs.values())
    for name, n in inputs.items():
        assert found[name] == pytest.approx(min(largest, math.sqrt(256 / n)), rel=1e-2), name
        assert found[name.replace("weight", "bias")] == pytest.approx(largest, rel=1e-2), name
    assert found["likelihood_state.log_scale"] == pytest.approx(1.0, rel=1e-2)  # no layer's


def test_without_multipliers_all_move_alike():
    assert all(distance == pytest.approx(1.0, rel=1e-2) for distance in moved(None)[1].values())


def test_a_convolution_counts_its_kernel():
    multipliers = list(learning_rate_multipliers(nn.Conv2d(64, 8, 4), largest=3.0).values())
    assert multipliers == [0.5, 3.0] and learning_rate_multipliers(nn.LayerNorm(8), largest=3.0) == {}


def test_maps_and_adversaries_have_one_rate(rows):
    game = {"n_components": 8, "objective": ELBO(penalties=(PriorCritic(),))}
    for given, shared in (({}, False), ({"neighbors": None}, True), ({"n_components": 8}, True), (game, False)):
        vae = fit(VAE(**{"n_components": 2, "max_epochs": 1, "random_state": 0} | given), rows)
        assert ("layers by their inputs" in vae.choices_["learning_rate"]) == shared, given
