"""Quantised codes: what they cost, how the codebook learns, where gradients go."""

import pytest
import torch

from latentmap.exceptions import NoDensityError, PartError
from latentmap.model import posteriors, priors
from latentmap.model.noise import fresh
from latentmap.model.part import Sizes
from parts import QUANTIZERS, name
from test_model_laws import model_of


def ready(part, latent=2):
    torch.manual_seed(0)
    return part.build(Sizes(event=(4,), latent=latent))


def draw(part, own, raw):
    return part.draw(own, raw, 1, fresh, lambda z: z)


@pytest.mark.parametrize("part", QUANTIZERS[:2], ids=name)
def test_the_cost_of_a_row_does_not_depend_on_its_batch(part):
    own = ready(part).eval()
    raw = torch.randn(6, 2)
    cost = draw(part, own, raw)[2]["commitment"]
    alone = torch.cat([draw(part, own, row)[2]["commitment"] for row in raw.split(1)])
    assert torch.allclose(cost, alone) and cost.shape == (6,)
    twice = draw(part, own, raw.repeat(2, 1))[2]["commitment"]
    assert twice.mean() == pytest.approx(cost.mean().item())
    assert twice.sum() != pytest.approx(cost.sum().item()), "control: a sum over the batch grows with it"


def test_the_codebook_is_the_running_mean_of_what_chose_it():
    part = posteriors.Quantized(2, decay=0.9)
    own = ready(part, 1)
    own.book.copy_(torch.tensor([-1.0, 1.0]).view(1, 1, 2, 1))
    own.usage.fill_(0.5)
    n, m = torch.full((2,), 0.5), torch.tensor([-0.5, 0.5])
    for rows in ([-2.0, -3.0, -1.0, 2.0], [0.5, 0.9, 3.0, 1.0]):
        x = torch.tensor(rows)
        for j, chose in enumerate((x < 0, x > 0)):
            n[j] = 0.9 * n[j] + 0.1 * chose.float().mean()
            m[j] = 0.9 * m[j] + 0.1 * (x * chose).mean()
        draw(part, own, x[:, None])
        torch.testing.assert_close(own.book.flatten(), m / n)
        torch.testing.assert_close(own.usage.flatten(), n)
    assert not torch.allclose(own.book.flatten(), m, atol=1e-2), "control: sums not divided by their weight"


def test_the_codebook_stands_still_outside_training_and_for_rows_that_are_not_finite():
    part = posteriors.Quantized(4)
    own = ready(part)
    before = own.book.clone()
    draw(part, own, torch.tensor([[float("nan"), 0.0], [1.0, 1.0]]))
    with torch.no_grad():
        draw(part, own, torch.randn(9, 2))
    draw(part, own.eval(), torch.randn(9, 2))
    assert torch.equal(own.book, before)
    draw(part, own.train(), torch.randn(9, 2))
    assert not torch.equal(own.book, before)


def test_dead_codes_are_revived(monkeypatch):
    def used(dead):
        monkeypatch.setattr("latentmap.model.posteriors.quantizers.DEAD", dead)
        part = posteriors.Quantized(16, decay=0.9)
        own = ready(part)
        own.usage.fill_(1 / 16)
        own.book[:, :, 1:] += 100  # far from all data
        for _ in range(60):
            draw(part, own, torch.randn(64, 2))
        return len(part.indices(own, torch.randn(500, 2)).unique())

    assert used(0.1) == 16
    assert used(0.0) == 1, "control: without revival they stay where nobody chooses them"


def test_codebooks_start_from_the_first_batch_and_stages_lower_the_error():
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(1)) + 20
    errors = []
    for stages in (1, 2, 4):
        part = posteriors.Quantized(8, stages=stages)
        own = ready(part, 3)
        far = (part.distribution(own, x).mean - x).square().mean()
        for _ in range(300):
            draw(part, own, x)
        errors.append((part.distribution(own, x).mean - x).square().mean().item())
        assert errors[-1] < far / 100
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


@pytest.mark.parametrize("part", QUANTIZERS, ids=name)
def test_gradients_pass_straight_through(part):
    own = ready(part).eval()
    raw = torch.randn(5, 2, requires_grad=True)
    z, q, _ = draw(part, own, raw)
    weight = torch.randn(5, 2)
    (gradient,) = torch.autograd.grad((z[0] * weight).sum(), raw)
    slope = 1 - torch.tanh(raw) ** 2 if isinstance(part, posteriors.FiniteScalar) else torch.ones(5, 2)
    torch.testing.assert_close(gradient, weight * slope)
    assert torch.allclose(z[0], q.mean, atol=1e-6) and not torch.allclose(z[0], raw)
    assert not part.embed(own, part.indices(own, raw)).requires_grad, "control: rounding itself has no gradient"


@pytest.mark.parametrize("part", [*QUANTIZERS, posteriors.Quantized(4, pieces=2, stages=3)], ids=name)
def test_codes_and_their_indices_are_one_to_one(part):
    own = ready(part, 4)
    length, values = part.alphabet(4)
    raw = torch.randn(300, 4)
    indices = part.indices(own, raw)
    assert indices.shape == (300, length) and 0 <= indices.min() and indices.max() < values
    torch.testing.assert_close(part.embed(own, indices), part.distribution(own, raw).mean)
    if not isinstance(part, posteriors.Quantized) or part.stages == 1:  # sums of stages have a nearer decomposition
        raw = part.embed(own, indices)
        raw = raw.clamp(-0.999, 0.999).atanh() if isinstance(part, posteriors.FiniteScalar) else raw
        assert torch.equal(part.indices(own, raw), indices)
    assert torch.equal(part.embed(own, indices.view(3, 100, length)), part.embed(own, indices).view(3, 100, 4))


def test_finite_scalars_take_their_levels_and_no_others():
    part = posteriors.FiniteScalar(4)
    raw = torch.randn(2000, 2) * 2
    z = part.distribution(ready(part), raw).mean
    torch.testing.assert_close(z.unique(), torch.linspace(-1, 1, 4))
    assert ((z - torch.tanh(raw)).abs() <= 1 / 3 + 1e-6).all()
    assert len(z.unique(dim=0)) == 4**2


@pytest.mark.parametrize("part", QUANTIZERS, ids=name)
def test_there_is_no_density(part):
    with pytest.raises(NoDensityError, match=type(part).__name__):
        part.distribution(ready(part), torch.randn(3, 2)).log_prob(torch.zeros(3, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: posteriors.Quantized(1),
        lambda: posteriors.Quantized(decay=1.0),
        lambda: posteriors.Quantized(commitment=-1.0),
        lambda: posteriors.Quantized(pieces=2).build(Sizes(event=(4,), latent=3)),
        lambda: posteriors.FiniteScalar(1),
        lambda: priors.Autoregressive().build(Sizes(event=(4,), latent=3)),
        lambda: model_of().indices(torch.zeros(2, 30)),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(PartError):
        make()
