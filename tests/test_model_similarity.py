"""Structural similarity as a distortion: its definition, its scales, and that it has no density."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from latentmap.exceptions import NoDensityError
from latentmap.model import likelihoods
from latentmap.model.likelihoods.similarity import Similarity
from latentmap.model.part import Learned
from latentmap.objectives import ELBO
from test_model_likelihoods import model_of

IMAGES = np.random.default_rng(0)


def smooth(n, side):
    images = np.stack([ndimage.gaussian_filter(image, 2.0) for image in IMAGES.random((n, side, side))])
    images = (images - images.min()) / np.ptp(images)
    return torch.from_numpy(images.reshape(n, -1)).float()


def compared(a, b):
    """Mean of luminance times contrast and of contrast alone, of two images, as they are defined."""

    def window(image):
        return ndimage.gaussian_filter(image, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    ma, mb = window(a), window(b)
    va, vb, ab = window(a * a) - ma**2, window(b * b) - mb**2, window(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    contrast = (2 * ab + c2) / (va + vb + c2)
    return ((2 * ma * mb + c1) / (ma**2 + mb**2 + c1) * contrast).mean(), contrast.mean()


def test_structural_similarity_follows_its_definition():
    x, y = smooth(3, 16), smooth(3, 16)
    y = 0.7 * x + 0.3 * y
    pairs = zip(x.double().numpy().reshape(3, 16, 16), y.double().numpy().reshape(3, 16, 16), strict=True)
    expected = [compared(a, b)[0] for a, b in pairs]
    assert Similarity((1, 16, 16))(x, y).numpy() == pytest.approx(np.array(expected), abs=1e-4)


def test_structural_similarity_over_scales_follows_its_definition():
    x, y = smooth(3, 48), smooth(3, 48)
    y = 0.7 * x + 0.3 * y
    weights = np.array([0.0488, 0.2856, 0.3001])  # of Wang et al. (2003), the finest scale first
    expected = []
    for a, b in zip(x.double().numpy().reshape(3, 48, 48), y.double().numpy().reshape(3, 48, 48), strict=True):
        scales = []
        for _ in weights:
            scales.append(compared(a, b))
            a, b = (image.reshape(len(image) // 2, 2, -1, 2).mean((1, 3)) for image in (a, b))
        factors = np.array([scales[0][1], scales[1][1], scales[2][0]])  # luminance counts at the coarsest alone
        expected.append(np.prod(factors ** (weights / weights.sum())))
    found = Similarity((1, 48, 48))(x, y).numpy()
    assert found == pytest.approx(np.array(expected), abs=1e-4)
    assert found != pytest.approx(np.array([np.prod(factors ** (1 / 3)) for _ in expected]), abs=1e-3)  # the control


@pytest.mark.parametrize(("side", "scales"), [(4, 1), (8, 1), (28, 2), (64, 3), (175, 4), (176, 5), (400, 5)])
def test_scales_last_for_as_long_as_they_hold_the_window(side, scales):
    similarity = Similarity((1, side, side + 3))
    assert len(similarity.weights) == scales and sum(similarity.weights) == pytest.approx(1)
    image = torch.rand(1, side * (side + 3))
    assert similarity(image, image).item() == pytest.approx(1, abs=1e-4)


def test_likeness_falls_with_noise_and_belongs_to_a_row():
    x = smooth(4, 28)
    similarity = Similarity((1, 28, 28))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    falls = [similarity(x, x + s * noise) for s in (0.0, 0.02, 0.1, 0.5)]
    assert all((a > b).all() for a, b in zip(falls, falls[1:], strict=False))
    assert torch.allclose(similarity(x[2:3], (x + 0.1 * noise)[2:3]), falls[2][2:3], atol=1e-6)
    draws = (x + 0.1 * noise).expand(3, 4, 784)
    assert torch.allclose(similarity(x, draws), falls[2].expand(3, 4), atol=1e-6)


def test_channels_are_compared_one_by_one():
    grey, other = smooth(2, 16), smooth(2, 16)
    colour = torch.stack([grey, other, grey], -1).flatten(1)
    against = torch.stack([grey, grey, grey], -1).flatten(1)
    expected = (2 + Similarity((1, 16, 16))(other, grey)) / 3
    assert torch.allclose(Similarity((3, 16, 16))(colour, against), expected, atol=1e-5)


def test_opposite_images_still_have_a_gradient_and_half_precision_does_not_reach_them():
    x = smooth(4, 28)
    y = (1 - x).requires_grad_()
    similarity = Similarity((1, 28, 28))
    (gradient,) = torch.autograd.grad(similarity(x, y).sum(), y)
    assert torch.isfinite(gradient).all()
    near = x + 0.01
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(similarity(x, near), Similarity((1, 28, 28))(x, near))
    assert similarity(x, near).min() > 0.9


def test_a_distortion_trains_but_has_no_density():
    model = model_of(likelihoods.MSSSIM(weight=0.5), event=(12, 12))
    x = smooth(8, 12)
    trace = model.trace(x)
    similarity = model.likelihood_state.similarity(x, trace.px.mean)[0]
    assert torch.allclose(trace.distortion, 0.5 * 144 * (1 - similarity))
    loss = ELBO().losses(Learned(), model, trace, torch.ones(()))["model"]
    assert loss.item() == pytest.approx((trace.distortion + trace.rate).mean().item(), rel=1e-5)
    gradients = torch.autograd.grad(loss, list(model.decoder.parameters()))
    assert all(g.any() for g in gradients)
    for ask in (lambda: trace.log_px, lambda: trace.log_w, trace.bound, trace.px.sample):
        with pytest.raises(NoDensityError, match=r"likelihood MSSSIM.*use"):
            ask()
