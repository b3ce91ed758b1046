"""Networks are what they say they are: the same parameters in plain arithmetic give the same numbers."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from scipy.special import erf
from torch import nn

from latentmap.model import modules, networks
from latentmap.model.part import Sizes

ACTIVATIONS = {
    "relu": lambda x: x.clip(0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "tanh": np.tanh,
}
RNG = np.random.default_rng(0)


def drawn(module):
    """Give a network weights of size one, in double precision, and its parameters in their order."""
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(RNG.normal(size=p.shape)))
    return module, iter([p.detach().numpy() for p in module.parameters()])


def linear(x, parameters):
    return x @ next(parameters).T + next(parameters)


def normalised(x, parameters):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5) * next(parameters) + next(parameters)


def convolved(x, parameters):
    """Images (C, H, W), with zeros around them."""
    weight, bias = next(parameters), next(parameters)
    return np.stack([sum(map(same, x, kernels)) + b for kernels, b in zip(weight, bias, strict=True)])


def same(image, kernel):
    return correlate(image, kernel, mode="constant")


def assert_gives(module, x, expected):
    found = module(torch.from_numpy(x)).detach().numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_goes_through_its_widths_and_a_decoder_back(activation):
    act, part = ACTIVATIONS[activation], networks.MLP((5, 3), activation)
    encoder, parameters = drawn(part.encoder(Sizes((4, 2), 2), out=6))
    x = RNG.normal(size=(7, 8))
    hidden = act(linear(act(linear(x, parameters)), parameters))
    assert hidden.shape == (7, 3)
    assert_gives(encoder, x, linear(hidden, parameters))
    decoder, parameters = drawn(part.decoder(Sizes((4, 2), 2), heads=3))
    z = RNG.normal(size=(7, 2))
    hidden = act(linear(act(linear(z, parameters)), parameters))
    assert hidden.shape == (7, 5)
    assert_gives(decoder, z, linear(hidden, parameters).reshape(7, 8, 3))


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_of_a_residual_network_add_to_what_they_are_given(blocks):
    act, part = ACTIVATIONS["silu"], networks.ResidualMLP(width=4, blocks=blocks)

    def expected(x, parameters):
        h = linear(x, parameters)
        for _ in range(blocks):
            inner = act(linear(normalised(h, parameters), parameters))
            assert inner.shape == (7, 8)  # twice the width
            h = h + linear(inner, parameters)
        return linear(normalised(h, parameters), parameters)

    encoder, parameters = drawn(part.encoder(Sizes((5,), 2), out=6))
    x = RNG.normal(size=(7, 5))
    assert_gives(encoder, x, expected(x, parameters))
    decoder, parameters = drawn(part.decoder(Sizes((5,), 2), heads=3))
    z = RNG.normal(size=(7, 2))
    assert_gives(decoder, z, expected(z, parameters).reshape(7, 5, 3))


def test_a_decoder_takes_fourier_features_beside_the_code():
    act, part = ACTIVATIONS["silu"], networks.Fourier(networks.MLP((4,)), frequencies=6)
    decoder, parameters = drawn(part.decoder(Sizes((5,), 2), heads=3))
    z = RNG.normal(size=(7, 2))
    features = np.concatenate([z, np.sin(linear(z, parameters))], 1)
    assert features.shape == (7, 8)
    assert_gives(decoder, z, linear(act(linear(features, parameters)), parameters).reshape(7, 5, 3))


def test_frequencies_have_their_scale_and_phases_all_digits():
    features = networks.Fourier(networks.MLP((4,)), frequencies=20_000, scale=5.0).decoder(Sizes((5,), 2), heads=1)[0]
    assert features.phase.weight.std().item() == pytest.approx(5.0, rel=0.05)
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found, rounded = features(z), features.phase(z)
    assert torch.equal(found, features(z))
    assert (rounded.float().sin() - found[:, 2:]).abs().max() > 0.1, "control: in 8 bits waves are others"


def test_convolutions_halve_an_image_and_double_it_again():
    act, part = ACTIVATIONS["silu"], networks.Conv((3, 2), width=5)
    sizes = Sizes((7, 5, 2), 2)  # 7 x 5, then 4 x 3, then 2 x 2
    encoder, parameters = drawn(part.encoder(sizes, out=4))
    x = RNG.normal(size=(7, 5, 2))
    h = x.transpose(2, 0, 1)
    for _ in range(2):
        h = act(convolved(h, parameters)[:, ::2, ::2])
    assert h.shape == (2, 2, 2)
    expected = linear(act(linear(h.reshape(1, -1), parameters)), parameters)
    assert_gives(encoder, x.reshape(1, -1), expected)

    decoder, parameters = drawn(part.decoder(sizes, heads=3))
    z = RNG.normal(size=(1, 2))
    h = act(linear(act(linear(z, parameters)), parameters)).reshape(2, 2, 2)
    for height, width in ((4, 3), (7, 5)):
        rows, columns = (np.arange(n) * m // n for n, m in zip((height, width), h.shape[1:], strict=True))
        h = act(convolved(h[:, rows][:, :, columns], parameters))  # each pixel is the one that lies there
    assert h.shape == (3, 7, 5)
    image = convolved(h, parameters).reshape(2, 3, 7, 5)  # channels, heads
    assert_gives(decoder, z, image.transpose(2, 3, 0, 1).reshape(1, 70, 3))
    assert next(parameters, None) is None


def test_heads_are_put_on_what_a_module_of_the_user_gives():
    encoder, parameters = drawn(modules.adapt_encoder(nn.Linear(4, 3), Sizes((4,), 2), out=5))
    x = RNG.normal(size=(7, 4))
    assert_gives(encoder, x, linear(linear(x, parameters), parameters))
    decoder, parameters = drawn(modules.adapt_decoder(nn.Linear(2, 3), Sizes((4,), 2), heads=3))
    z = RNG.normal(size=(6, 7, 2))
    assert_gives(decoder, z, linear(linear(z, parameters), parameters).reshape(6, 7, 4, 3))
