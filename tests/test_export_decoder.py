"""A page decodes as Python does: the same plan computed by Node, for every network, likelihood and latent space."""

import copy

import numpy as np
import pytest
import torch

from latentmap.explorer.export_arrays import PRECISIONS, pack_weight, rounded_weight
from latentmap.explorer.export_decoder import NEAR, export_decoder
from latentmap.explorer.export_likelihood import Inexpressible
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import Parts
from latentmap.model.ladder import compose
from latentmap.model.part import Sizes
from latentmap.model.scaling import Affine
from pages import bundle, run
from parts import LIKELIHOODS, NETWORKS

IMAGE = (9, 7, 3)
OTHERS = [
    likelihoods.MSSSIM(),
    likelihoods.Poisson(library=True),
    likelihoods.ZeroInflated(likelihoods.NegativeBinomial(library=True)),
    likelihoods.LogisticMixture(components=2, levels=4),
    likelihoods.Incomplete(likelihoods.Gaussian("feature")),
]
COLUMNS = likelihoods.Heterogeneous(
    (
        likelihoods.Gaussian("feature"),
        likelihoods.Categorical(3),
        likelihoods.Bernoulli(),
        likelihoods.VonMises(),
        likelihoods.Categorical(5),
        likelihoods.NegativeBinomial(),
        likelihoods.Gaussian("feature"),
        likelihoods.DiscretizedLogistic(4),
    )
)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    return bundle("decode.ts", tmp_path_factory.mktemp("decode"))


def model_of(likelihood=None, network=None, posterior=None, prior=None, event=(6,), latent=3, **sizes):
    """Return a model with strange weights and states, whose decoded values vary."""
    parts = Parts(
        networks.MLP((8,)),
        network or networks.MLP((16, 24)),
        posterior or posteriors.Gaussian(),
        prior or priors.Normal(),
        likelihood or likelihoods.Gaussian(),
    )
    generator = torch.Generator().manual_seed(0)
    model = compose(parts, Sizes(event, latent, **sizes), generator)
    for tensor in [
        *model.decoder.parameters(),
        *model.likelihood_state.parameters(),
        *model.likelihood_state.buffers(),
    ]:
        if tensor.is_floating_point() and tensor.ndim:
            tensor.data += 0.3 * torch.randn(tensor.shape, generator=generator)
    return model.eval()


def python(model, scaling, codes, condition):
    """Decode in double precision, since single loses digits of some means."""
    model, z = copy.deepcopy(model).double(), torch.as_tensor(codes).double()
    given = None if condition is None else torch.tensor(condition).double().expand(len(z), -1)
    with torch.no_grad():
        return scaling.inverse(model.given(given).decode(model.parts.posterior.onto(z)).mean).numpy()


def require_equal(script, model, scaling=None, condition=None):
    """Require that Node, or a page of a browser, decodes as Python does."""
    scaling = scaling or Affine(0.0, 1.0)
    codes = np.random.default_rng(1).normal(size=(40, model.sizes.latent)).astype(np.float32)
    expected = python(model, scaling, codes, condition)
    low, high = expected.min(0), expected.max(0)
    exported = export_decoder(model, scaling, codes, low, high, condition)
    given = {"plan": exported.plan, "codes": codes.tolist()}
    decode = "({ plan, codes }) => decode(plan, codes)"
    answer = script.evaluate(decode, given) if hasattr(script, "evaluate") else run(script, given)["values"]
    got = np.array(answer, dtype=float)
    span = np.where(high > low, high - low, 1)
    assert expected.std() > 0
    assert exported.error <= NEAR
    np.testing.assert_array_less(np.abs(got - expected), 1.1 * NEAR * np.broadcast_to(span, got.shape))
    return exported


@pytest.mark.parametrize("network", [*NETWORKS, networks.MLP((16,), "relu"), networks.MLP((16,), "gelu")], ids=repr)
def test_every_network(script, network):
    require_equal(script, model_of(network=network, event=IMAGE))


def test_the_same_in_a_browser(pages, tmp_path):
    page = pages("about:blank", wait=None)
    page.add_script_tag(path=bundle("browser.ts", tmp_path, "browser"), type="module")
    page.wait_for_function("typeof globalThis.decode === 'function'")
    for network in NETWORKS:
        require_equal(page, model_of(network=network, event=IMAGE))
    for part in (likelihoods.ContinuousBernoulli(), likelihoods.LogisticMixture(components=2), COLUMNS):
        require_equal(page, model_of(part, event=(8,)))


def test_normalised_residual_blocks(script):
    require_equal(script, model_of(network=networks.SpectralNorm(networks.ResidualMLP(16, 2, "gelu"))))


@pytest.mark.parametrize("part", [*(case.part for case in LIKELIHOODS), *OTHERS], ids=repr)
def test_every_likelihood(script, part):
    require_equal(script, model_of(part, event=(12, 13) if isinstance(part, likelihoods.MSSSIM) else (6,)))


@pytest.mark.parametrize("heads", [likelihoods.DiscretizedLogistic(), likelihoods.Categorical(levels=4)], ids=repr)
def test_heads_of_the_channels_of_an_image(script, heads):
    require_equal(script, model_of(heads, networks.Conv((4, 8), width=16), event=IMAGE))


def test_columns_of_every_kind(script):
    scaling = Affine(
        np.array([5.0, 0, 0, 0, 0, 0, 2, 0]),
        np.array([3.0, 2, 1, 1, 4, 1, 0.5, 3]),
        stretched=np.arange(8) == 6,
        unit=np.where(np.arange(8) == 6, 10.0, 1.0),
    )
    model = model_of(likelihoods.Incomplete(COLUMNS), event=(8,))
    exported = export_decoder(model, scaling, np.zeros((2, 3), np.float32), np.zeros(8), np.ones(8))
    codes = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    answer = run(script, {"plan": exported.plan, "codes": codes.tolist()})
    expected, got = python(model, scaling, codes, None), np.array(answer["values"], float)
    assert len(np.unique(expected[:, 4])) > 1
    np.testing.assert_array_equal(got[:, [1, 4]], np.rint(expected[:, [1, 4]]))
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3)
    with torch.no_grad():
        groups = model.decode(torch.as_tensor(codes)).base.groups
    masses = next(p.log_masses.exp().amax(-1) for at, p in groups if at == [4])
    shown = np.array(answer["probability"], float)
    np.testing.assert_allclose(shown[:, 4], masses[:, 0], atol=NEAR)
    np.testing.assert_allclose(shown[:, 2], np.maximum(expected[:, 2], 1 - expected[:, 2]), atol=NEAR)
    assert np.isnan(shown[:, [0, 3, 5, 6, 7]]).all()


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [(posteriors.Sphere(), priors.Uniform()), (posteriors.Poincare(), priors.WrappedNormal())],
    ids=repr,
)
def test_points_off_a_curved_space(script, posterior, prior):
    require_equal(script, model_of(posterior=posterior, prior=prior))


def test_standardised_codes(script):
    model = model_of()
    model.standardise(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), torch.tensor([0.5, 2.0, 3.0]).double())
    require_equal(script, model)


def test_a_ladder_and_a_condition(script):
    condition = np.array([[0.0, 1.0]], np.float32)
    condition.flags.writeable = False
    require_equal(script, model_of(condition=2), condition=condition)
    require_equal(script, model_of(below=(2, 4)))
    require_equal(script, model_of(below=(2, 4), condition=2), condition=condition)


def test_large_offsets_keep_their_digits(script):
    require_equal(script, model_of(), Affine(np.full(6, 2e9), np.full(6, 0.1)))


def test_precision_is_the_smallest_that_is_near_enough():
    model, scaling = model_of(), Affine(0.0, 1.0)
    codes = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    span = np.zeros(6), np.ones(6)
    found = {near: export_decoder(model, scaling, codes, *span, near=near) for near in (1.0, NEAR, 0.0)}
    assert [one.precision for one in found.values()] == ["int8", "int16", "float32"]
    assert all(one.error <= near for near, one in found.items())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rounded_weights_are_near(precision):
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    weight[2] = 0
    off = np.abs(rounded_weight(weight, precision) - weight).max(1)
    steps = {"int8": 127, "int16": 32767, "float32": np.inf}[precision]
    assert (off <= 0.51 * np.abs(weight).max(1) / steps + 1e-12).all()
    assert pack_weight(weight, precision)["type"] == precision


class Doubled(torch.nn.Sequential):
    def forward(self, z):
        return 2 * super().forward(z)


class OwnNetwork(networks.MLP):
    def decoder(self, sizes, heads):
        return Doubled(super().decoder(sizes, heads))


class OwnLikelihood(likelihoods.Gaussian):
    pass


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"network": torch.nn.Linear(3, 4)}, "module"),
        ({"network": OwnNetwork((4,))}, "Doubled"),
        ({"likelihood": OwnLikelihood()}, "OwnLikelihood"),
    ],
)
def test_parts_of_the_users_own_are_named(parts, named):
    with pytest.raises(Inexpressible, match=named):
        export_decoder(model_of(**parts), Affine(0.0, 1.0), np.zeros((2, 3), np.float32), np.zeros(6), np.ones(6))
