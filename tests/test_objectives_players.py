"""Laws of games: who moves what, what a critic learns, and what is watched; over every objective."""

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.distributions import normal
from latentmap.model.noise import Generated, RowNoise
from latentmap.model.part import Sizes
from latentmap.model.trace import Level, Trace
from latentmap.objectives import (
    ELBO,
    IWAE,
    MMD,
    PIWAE,
    VAEGAN,
    DecoderGradient,
    DReG,
    FactorCritic,
    PriorCritic,
    TotalCorrelation,
)
from latentmap.objectives.base import MONITOR, Critic, monitored
from latentmap.training.feed import Batch
from latentmap.training.loop import Settings, Trainer
from parts import CRITIC, OBJECTIVES, name

MLP, END = networks.MLP((8,)), torch.ones(())
DATA = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def model_of(posterior=posteriors.Gaussian(), prior=priors.Normal()):
    torch.manual_seed(0)
    return GenerativeAutoencoder(Parts(MLP, MLP, posterior, prior, likelihoods.Gaussian()), Sizes((6,), 3))


def trainer_of(objective, model=None, **settings):
    defaults = {"max_epochs": 2, "batch_size": 12, "learning_rate": 1e-2, "seed": 0}
    return Trainer(model or model_of(), objective, nn.Identity(), DATA, None, Settings(**defaults | settings))


def losses_of(objective, model, x=DATA, noise=None):
    own = objective.build(Sizes((6,), 3, rows=len(DATA))).to(x.dtype)
    trace = model.trace(x, objective.samples, noise or RowNoise(x, 0))
    objective.check_model(model, trace)
    return own, objective.losses(own, model, trace, END)


def gradients(loss, parameters):
    return torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)


def same(a, b):
    return all((g is None) == (h is None) and (g is None or torch.equal(g, h)) for g, h in zip(a, b, strict=True))


# ---- who moves what


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_players_share_all_parameters_out_among_them(objective):
    model = model_of()
    own = objective.build(Sizes((6,), 3, rows=len(DATA)))
    players = objective.players(own, model)
    owned = [id(p) for parameters in players.values() for p in parameters]
    assert len(owned) == len(set(owned)) and set(owned) == {id(p) for p in [*model.parameters(), *own.parameters()]}
    assert all(players.values())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_a_step_gives_each_player_only_its_own_gradient(objective):
    trainer, twin = trainer_of(objective), trainer_of(objective).gradient_step
    for each in (trainer, twin):
        each.model.train()
    losses, _ = twin.losses(DATA, END, None, Generated(twin.generator))
    expected = [g for player, parameters in twin.players.items() for g in gradients(losses[player], parameters)]
    leaking = gradients(sum(losses[p] for p in twin.players), [p for ps in twin.players.values() for p in ps])
    trainer._take_step(Batch(DATA), 1.0)
    got = [p.grad for parameters in trainer.gradient_step.players.values() for p in parameters]
    assert same(got, expected)
    if len(trainer.gradient_step.players) > 1:  # one backward pass of all losses together, as others do it, is a leak
        assert not same(got, leaking)


@pytest.mark.parametrize("kind", [PriorCritic, FactorCritic])
def test_a_critic_of_codes_does_not_train_the_encoder(kind):
    model, objective = model_of(), ELBO(penalties=(kind(5.0, network=CRITIC),))
    own, losses = losses_of(objective, model)
    critic = list(own.parameters())
    assert all(g is None for g in gradients(losses["penalty_0"], list(model.parameters())))
    assert all(g is not None and g.any() for g in gradients(losses["penalty_0"], critic))
    encoder = list(model.inference_parameters())
    assert not same(gradients(losses["model"], encoder), gradients(losses[MONITOR], encoder))  # the model does see it

    class Leaky(kind):
        def opposition(self, own, model, trace):
            return self._logit(own, trace.levels[0].z).mean()

    _, losses = losses_of(ELBO(penalties=(Leaky(5.0, network=CRITIC),)), model)
    assert any(g is not None for g in gradients(losses["penalty_0"], encoder))


def test_players_of_a_vae_gan_pull_their_own_way():
    torch.manual_seed(0)
    model, objective = model_of(), VAEGAN(network=CRITIC, width=8)
    own, losses = losses_of(objective, model)
    decoder, critic = list(model.decoder.parameters()), list(own.score.parameters())
    content = gradients(losses["inference"], decoder)  # rate and content; the decoder sees the second of them
    gan = VAEGAN(network=CRITIC, width=8, gamma=0.0)
    torch.manual_seed(0)
    fooling = gan.losses(own, model, model.trace(DATA, 1, RowNoise(DATA, 0)), END)["generative"]
    pull, push = (torch.cat([g.flatten() for g in gradients(loss, decoder)]) for loss in (fooling, losses["critic"]))
    assert (pull @ push) / (pull.norm() * push.norm()) < -0.9  # the critic would have it the other way
    assert any(g.any() for g in content if g is not None)
    assert all(g.any() for g in gradients(losses["critic"], critic))
    assert all(g is None for g in gradients(losses["inference"], critic))  # features, not the verdict


def test_the_content_of_a_vae_gan_is_half_the_squared_distance_of_features():
    model, objective = model_of(), VAEGAN(network=CRITIC, width=8)
    own, losses = losses_of(objective, model)
    trace = model.trace(DATA, objective.samples, RowNoise(DATA, 0))
    apart = own.features(trace.x) - own.features(trace.px.mean[0])
    expected = trace.rate.mean() + 0.5 * apart.square().sum(1).mean()
    torch.testing.assert_close(losses["inference"], expected)


# ---- what a critic learns


def correlated(correlation, n=4000):
    z = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    z = torch.stack([z[:, 0], correlation * z[:, 0] + (1 - correlation**2) ** 0.5 * z[:, 1]], 1)
    level = Level(z[None], normal(z, torch.ones_like(z)), normal(torch.zeros(2), torch.ones(2)))
    return Trace(z, (level,), normal(z[None], torch.ones(())))


def learned(critic, trace, steps=150):
    torch.manual_seed(0)
    own = critic.build(Sizes((2,), 2))
    optimizer = torch.optim.Adam(own.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        critic.opposition(own, None, trace).backward()
        optimizer.step()
    with torch.no_grad():
        return critic.cost(own, None, trace).item(), critic.opposition(own, None, trace).item()


def test_a_factor_critic_learns_the_total_correlation():
    critic = FactorCritic(network=networks.MLP((32,)))
    exact = -0.5 * torch.tensor(1 - 0.8**2).log().item()
    assert learned(critic, correlated(0.8))[0] == pytest.approx(exact, abs=0.06)
    assert learned(critic, correlated(0.0))[0] == pytest.approx(0, abs=0.03)
    assert abs(learned(critic, correlated(0.8), steps=0)[0] - exact) > 0.2


def test_a_prior_critic_tells_codes_from_the_prior_where_it_can():
    critic = PriorCritic(network=networks.MLP((32,)))
    chance = 2 * torch.tensor(2.0).log().item()
    assert learned(critic, correlated(0.0))[1] == pytest.approx(chance, abs=0.02)
    cost, loss = learned(critic, correlated(0.95))
    assert loss < chance - 0.2 and cost > chance / 2 + 0.1


def test_shuffled_codes_keep_the_marginals_and_lose_the_rest():
    trace = correlated(0.9)
    torch.manual_seed(0)
    critic = FactorCritic()
    shuffled = critic._others(critic.build(Sizes((2,), 2)), trace)
    assert torch.equal(shuffled.sort(0).values, trace.x.sort(0).values)
    assert abs(torch.corrcoef(shuffled.T)[0, 1]) < 0.06 < abs(torch.corrcoef(trace.x.T)[0, 1])


# ---- batches


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
def test_a_batch_of_one_has_losses_and_gradients(objective):
    model = model_of()
    own, losses = losses_of(objective, model, DATA[:1])
    for player, parameters in objective.players(own, model).items():
        assert torch.isfinite(losses[player])
        assert all(g is None or torch.isfinite(g).all() for g in gradients(losses[player], parameters))


RANDOM = (DecoderGradient, Critic)
"""Draw noise of their own, so that the same rows have another loss in another batch."""
STEADY = [o for o in OBJECTIVES if not any(isinstance(p, RANDOM) for p in getattr(o, "penalties", ()))]


@pytest.mark.parametrize("objective", [o for o in STEADY if not isinstance(o, VAEGAN)], ids=name)
def test_objectives_say_whether_a_batch_is_more_than_its_rows(objective):
    model, x = model_of().double(), torch.cat([DATA[:6], 30 * DATA[6:]]).double()  # halves with low and high rates
    halves = torch.stack([monitored(losses_of(objective, model, half)[1]) for half in x.split(6)]).mean()
    whole = monitored(losses_of(objective, model, x)[1])
    assert objective.needs_batch != torch.allclose(halves, whole, rtol=1e-9)


# ---- what is watched, and what a fit keeps


def test_a_fit_watches_what_no_critic_moves():
    objective = ELBO(beta=2.0, penalties=(FactorCritic(50.0, network=CRITIC), PriorCritic(50.0, network=CRITIC)))
    _, losses = losses_of(objective, model_of())
    trace = model_of().trace(DATA, 1, RowNoise(DATA, 0))
    assert torch.allclose(monitored(losses), trace.distortion.mean() + 2 * trace.rate.mean())
    assert not torch.allclose(losses["model"], monitored(losses), atol=1.0)
    assert monitored({"model": END, "critic": 2 * END}) == 1


@pytest.mark.parametrize("bound", [PIWAE(4, 3), DReG(12)])
def test_a_fit_watches_the_bound(bound):
    model = model_of()
    trace = model.trace(DATA, 12, RowNoise(DATA, 0))
    assert torch.allclose(monitored(losses_of(bound, model)[1]), -trace.bound().mean())


def test_critics_start_from_the_seed_and_leave_the_generator_alone():
    objective = ELBO(penalties=(FactorCritic(network=CRITIC),))
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = trainer_of(objective, model := model_of(), seed=3)
    torch.manual_seed(8)
    second = trainer_of(objective, model, seed=3)
    third = trainer_of(objective, model, seed=4)
    weights = [next(t.gradient_step.objective_state.parameters()) for t in (first, second, third)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    torch.set_rng_state(state)
    trainer_of(objective, model)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_best_weights_come_back_with_their_critic():
    trainer = trainer_of(ELBO(penalties=(FactorCritic(network=CRITIC),)))
    critic = trainer.gradient_step.objective_state
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    trainer._take_step(Batch(DATA), 0.5)
    assert not torch.equal(*(next(iter(d.values())) for d in (before, critic.state_dict())))
    trainer.gradient_step.load_weights(trainer.best[1])
    assert all(torch.equal(value, before[name]) for name, value in critic.state_dict().items())


def test_a_fit_in_pieces_goes_on_with_its_critic():
    objective = ELBO(penalties=(FactorCritic(network=CRITIC),))
    first = trainer_of(objective, model := model_of())
    first.run()
    second = trainer_of(objective, model, seed=9)
    state = first.state_dict()
    second.load_state_dict({name: state[name] for name in ("objective", "optimizers")}, strict=False)
    weights = (next(t.gradient_step.objective_state.parameters()) for t in (first, second))
    assert torch.equal(*weights)
    assert second.gradient_step.optimizers["penalty_0"].state_dict()["state"]


# ---- refusals, before the first step


class Correlated(posteriors.Gaussian):
    """A posterior that does not factorise."""

    def distribution(self, own, raw):
        loc, s = raw.chunk(2, -1)
        return MultivariateNormal(loc, scale_tril=torch.diag_embed(s.exp()) + 0.1 * torch.eye(3).roll(1, 0).tril(-1))

    def draw(self, own, raw, k, noise, log_joint):
        q = self.distribution(own, raw)
        z = q.mean + (q.scale_tril @ noise((k, *q.mean.shape), q.mean)[..., None])[..., 0]
        return z, q, {}


class Echo(priors.Prior):
    """A prior that is made of the encoder."""

    def distribution(self, own, encode):
        return normal(encode(torch.zeros(1, 6)).mean[0], torch.ones(3))


POINT = posteriors.Deterministic()


@pytest.mark.parametrize(
    ("objective", "parts", "message"),
    [
        (
            ELBO(penalties=(TotalCorrelation(),)),
            {"posterior": Correlated()},
            "TotalCorrelation.*Multivar.*FactorCritic",
        ),
        (ELBO(0.0, penalties=(TotalCorrelation(),)), {"posterior": POINT}, "TotalCorrelation.*Delta.*FactorCritic"),
        (DReG(), {"posterior": Correlated()}, "DReG.*posteriors.Gaussian.*IWAE"),
        (DReG(), {"prior": Echo()}, "DReG.*prior apart from the encoder.*IWAE"),
        (ELBO(), {"posterior": POINT}, r"ELBO\(beta=1\).*density.*beta=0"),
        (IWAE(), {"posterior": POINT}, "IWAE.*density"),
        (PIWAE(), {"posterior": POINT}, "PIWAE.*density"),
        (VAEGAN(network=CRITIC), {"posterior": POINT}, "VAEGAN.*density"),
        (ELBO(free_bits=0.1), {"posterior": Correlated()}, "factorise"),
    ],
)
def test_what_cannot_go_together_is_refused_when_it_is_put_together(objective, parts, message):
    with pytest.raises(PartError, match=message):
        trainer_of(objective, model_of(**parts))


@pytest.mark.parametrize(
    ("objective", "parts"),
    [
        (ELBO(penalties=(FactorCritic(network=CRITIC), MMD())), {"posterior": Correlated()}),
        (IWAE(), {"posterior": Correlated(), "prior": Echo()}),
        (ELBO(0.0, penalties=(PriorCritic(network=CRITIC), MMD())), {"posterior": POINT}),
        (VAEGAN(beta=0.0, network=CRITIC), {"posterior": POINT}),
    ],
)
def test_what_the_refusals_recommend_is_accepted(objective, parts):
    assert trainer_of(objective, model_of(**parts)).run()


def test_levels_of_codes_are_refused_where_there_can_be_but_one():
    trace = model_of().trace(DATA)
    two = Trace(DATA, trace.levels * 2, trace.px)
    for penalty in (TotalCorrelation(), MMD(), PriorCritic(), FactorCritic(), DecoderGradient()):
        with pytest.raises(PartError, match=f"{type(penalty).__name__} takes models with one layer"):
            penalty.check_model(model_of(), two)
