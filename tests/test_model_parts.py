"""Laws of parts, networks and noise, each with a control that has to fail."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from latentmap.exceptions import ModelError, PartError
from latentmap.model import likelihoods, modules, networks, posteriors, priors
from latentmap.model.noise import RowNoise
from latentmap.model.part import Learned, Part, Sizes
from latentmap.model.priors import PLAIN
from parts import NETWORKS, PARTS, POSTERIORS, QUANTIZERS, name
from test_model_laws import SIZES, model_of


@pytest.mark.parametrize("part", PARTS, ids=name)
def test_parts_are_values(part):
    assert Part.from_json(part.to_json()) == part
    assert hash(Part.from_json(part.to_json())) == hash(part)
    with pytest.raises(AttributeError):
        part.anything = 1


def test_parts_of_earlier_versions_load_by_their_old_names():
    part = likelihoods.Heterogeneous((likelihoods.Gaussian("feature"), likelihoods.Poisson()))
    saved = part.to_json()
    assert saved["part"] == "likelihoods.Heterogeneous"
    assert likelihoods.Likelihood.from_json(saved | {"part": "likelihoods.Columns"}) == part
    old = likelihoods.Incomplete(part).to_json() | {"likelihood": saved | {"part": "likelihoods.Columns"}}
    assert Part.from_json(old) == likelihoods.Incomplete(part)


def test_unknown_parts_are_refused():
    with pytest.raises(ModelError, match="priors.Nothing"):
        Part.from_json({"part": "priors.Nothing"})
    with pytest.raises(ModelError, match="likelihoods.Gaussian"):
        priors.Prior.from_json(likelihoods.Gaussian().to_json())


@pytest.mark.parametrize(
    "make",
    [
        lambda: likelihoods.Gaussian(scale=-1.0),
        lambda: likelihoods.Gaussian(scale="best"),
        lambda: networks.MLP((0,)),
        lambda: networks.MLP(activation="sine"),
        lambda: networks.Conv((8, -1)),
        lambda: networks.ResidualMLP(width=0),
        lambda: networks.Fourier(networks.MLP(), frequencies=0),
        lambda: networks.Fourier(networks.MLP(), scale=0.0),
        lambda: networks.Fourier(networks.MLP(), scale=float("nan")),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(PartError, match="must be"):
        make()


@pytest.mark.parametrize("posterior", [*POSTERIORS, *QUANTIZERS], ids=name)
def test_distributions_are_over_rows_of_components_and_of_features(posterior):
    model = model_of(posterior, PLAIN[posterior.manifold])
    q, p, px = model.encode(torch.rand(4, 30)), model.prior(), model.decode(torch.rand(2, 4, 3))
    assert (q.batch_shape, q.event_shape, q.mean.shape) == ((4,), (3,), (4, 3))
    assert (p.batch_shape, p.event_shape) == ((), (3,))
    assert (px.batch_shape, px.event_shape, px.mean.shape) == ((2, 4), (30,), (2, 4, 30))


@pytest.mark.parametrize("posterior", POSTERIORS, ids=name)
def test_networks_may_compute_in_half_precision_and_densities_do_not(posterior):
    model, x = model_of(posterior, PLAIN[posterior.manifold]), torch.rand(4, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.encoder(x).dtype == torch.bfloat16  # the control
        trace = model.trace(x, k=2)
        found = [model.encode(x).mean, model.decode(trace.levels[0].z).mean, trace.log_px, trace.distortion]
        found += [trace.rate, trace.log_w] if trace.has_density else []
    assert all(value.dtype == torch.float32 for value in found)


@pytest.mark.parametrize("network", NETWORKS, ids=name)
@pytest.mark.parametrize("leading", [(1,), (4,), (2, 3), (2, 1, 3)])
def test_networks_take_any_leading_shape_and_a_batch_of_one(network, leading):
    model = model_of(network=network)
    assert model.decode(torch.randn(*leading, 3)).mean.shape == (*leading, 30)
    assert model.trace(torch.randn(leading[-1], 30), k=2).log_w.shape == (2, leading[-1])


def test_images_reach_a_convolution_the_right_way_up():
    image = torch.arange(6 * 5 * 3.0).view(1, 6, 5, 3)  # height, width, channels
    seen = []

    class Look(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x

    encoder = modules.adapt_encoder(Look(), Sizes((6, 5, 3), 2), out=4)
    encoder(image.flatten(1))
    assert torch.equal(seen[-1], image.permute(0, 3, 1, 2))


def test_conv_decoders_put_pixels_where_encoders_read_them():
    decoder = networks.Conv((4,), width=8).decoder(Sizes((6, 5, 3), 2), heads=2)
    images = []
    decoder.layers.register_forward_hook(lambda module, given, output: images.append(output))
    raw = decoder(torch.randn(7, 2))  # (7, 90, 2)
    assert torch.equal(raw.view(7, 6, 5, 3, 2), images[0].view(7, 3, 2, 6, 5).permute(0, 3, 4, 1, 2))


def test_convolutions_refuse_rows_that_are_not_images():
    with pytest.raises(PartError, match=r"network Conv takes images.*MLP"):
        networks.Conv().encoder(Sizes((12,), 2), out=4)


def test_modules_of_the_user_are_checked():
    with pytest.raises(PartError, match="your encoder must turn rows"):
        modules.adapt_encoder(nn.Linear(4, 3), SIZES, out=2)
    with pytest.raises(PartError, match="your decoder returned a tuple of"):
        modules.adapt_decoder(nn.GRU(3, 4), SIZES, heads=1)


def test_row_noise_is_normal_independent_and_belongs_to_the_row():
    x = torch.randn(4000, 7, generator=torch.Generator().manual_seed(0))
    noise = RowNoise(x, seed=3)
    first, second = noise((4, 4000, 3), x), noise((4, 4000, 3), x)
    for draws in (first, second):
        assert draws.mean().abs() < 4 / math.sqrt(draws.numel())
        assert (draws**2).mean().item() == pytest.approx(1, abs=0.03)
        assert (draws**4).mean().item() == pytest.approx(3, abs=0.2)
    both = torch.cat([first, second]).permute(1, 0, 2).reshape(4000, -1)  # (rows, 24)
    correlation = np.corrcoef(both.numpy().T) - np.eye(24)
    assert np.abs(correlation).max() < 5 / math.sqrt(4000)
    order = torch.randperm(4000)[:50]
    assert torch.equal(RowNoise(x[order], seed=3)((4, 50, 3), x), first[:, order])
    assert not torch.equal(RowNoise(x, seed=4)((4, 4000, 3), x), first)


def test_equal_rows_have_equal_noise_whatever_their_bits():
    x = torch.tensor([[0.0, torch.nan, 1.0], [-0.0, -torch.nan, 1.0], [0.0, torch.nan, 2.0]])
    noise = RowNoise(x, seed=0)((4, 3, 2), x)
    assert torch.equal(noise[:, 0], noise[:, 1]) and not (noise[:, 0] == noise[:, 2]).any()


def test_an_ex_post_prior_takes_the_moments_of_the_codes():
    codes = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) @ torch.randn(3, 3) + 4
    model = model_of(posteriors.Deterministic(), priors.FittedNormal())
    assert model.parts.prior.ex_post and model.parts.prior.prepare(model.prior_state, codes, seed=0)
    assert torch.allclose(model.prior().mean, codes.mean(0), atol=1e-4)
    assert torch.allclose(model.prior().covariance_matrix, torch.cov(codes.T), rtol=1e-3, atol=1e-3)
    model.parts.prior.prepare(model.prior_state, torch.ones(1, 3), seed=0)  # one row: no spread, still a distribution
    assert torch.isfinite(model.prior().sample()).all()


def test_posterior_scales_are_bounded_softly():
    raw = torch.tensor([[0.0, -1e6], [0.0, 1e6]], requires_grad=True)
    q = posteriors.Gaussian().distribution(Learned(), raw)
    assert isinstance(q, Independent) and isinstance(q.base_dist, Normal)
    assert q.stddev.min() >= math.exp(-7.001) and q.stddev.max() <= math.exp(7.001)
