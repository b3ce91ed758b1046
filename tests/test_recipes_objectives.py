"""Every objective through the estimators: fitted, scored, sampled, saved; and what penalties do to a real fit."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from latentmap import VAE, load, networks, posteriors
from latentmap.exceptions import NoDensityError, PartError
from latentmap.model.distributions import normal
from latentmap.model.part import Learned
from latentmap.model.trace import Level, Trace
from latentmap.objectives import (
    ELBO,
    MMD,
    VAEGAN,
    CodeNorm,
    DecoderGradient,
    DecoderNorm,
    FactorCritic,
    PriorCritic,
    TotalCorrelation,
)
from parts import CRITIC, OBJECTIVES, name

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS = load_digits().data[:400]
MLP = networks.MLP((32,))
SMOOTH = networks.SpectralNorm(MLP)
POINT = posteriors.Deterministic()
AUTOENCODERS = [
    ELBO(0.0, penalties=(MMD(100.0),)),
    ELBO(0.0, penalties=(PriorCritic(10.0, network=CRITIC),)),
    ELBO(0.0, penalties=(CodeNorm(0.1), DecoderNorm(1e-4))),
    ELBO(0.0, penalties=(CodeNorm(0.1), DecoderGradient(0.1))),
    VAEGAN(beta=0.0, network=CRITIC),
]


def fit(objective, X=DIGITS, decoder=MLP, **settings):
    defaults = {"max_epochs": 4, "batch_size": 32, "learning_rate": 5e-3, "neighbors": None, "random_state": 0}
    return VAE(2, encoder=MLP, decoder=decoder, objective=objective, **defaults | settings).fit(X)


@pytest.mark.parametrize(
    ("objective", "posterior", "decoder"),
    [*((o, None, MLP) for o in OBJECTIVES), *((o, POINT, MLP) for o in AUTOENCODERS), (AUTOENCODERS[2], POINT, SMOOTH)],
    ids=lambda value: repr(value) if hasattr(value, "losses") else "",
)
def test_every_objective_goes_all_the_way(objective, posterior, decoder, tmp_path):
    vae = fit(objective, decoder=decoder, variational_family=posterior)
    assert np.isfinite([row[key] for row in vae.history_ for key in ("loss", "val_loss", "val_distortion")]).all()
    assert vae.history_[-1]["val_distortion"] < vae.history_[0]["val_distortion"]
    codes = vae.transform(DIGITS)
    assert np.array_equal(codes, vae.transform(DIGITS)) and np.allclose(codes[3:4], vae.transform(DIGITS[3:4]))
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.objective == objective and clone(vae).objective == objective
    assert np.array_equal(again.transform(DIGITS), codes)
    assert np.array_equal(again.sample(3, random_state=0), vae.sample(3, random_state=0))
    assert np.array_equal(pickle.loads(pickle.dumps(vae)).reconstruct(DIGITS[:3]), vae.reconstruct(DIGITS[:3]))
    if posterior is None:
        assert np.isfinite(vae.score_samples(DIGITS[:5], n_samples=3)).all()
    else:
        with pytest.raises(NoDensityError, match="Deterministic"):
            vae.score_samples(DIGITS[:5])


@pytest.mark.parametrize("objective", [OBJECTIVES[0], OBJECTIVES[-1], VAEGAN(network=CRITIC)], ids=name)
def test_fits_in_pieces_and_with_a_remainder_of_one(objective):
    vae = fit(objective, DIGITS[:65], validation_fraction=1 / 65)  # one row is held out
    assert np.isfinite(vae.history_[-1]["val_loss"])
    for piece in (DIGITS[:65], DIGITS[65:130]):
        vae.partial_fit(piece)
    assert np.isfinite(vae.history_[-1]["loss"])


def test_refusals_reach_the_user():
    with pytest.raises(PartError, match="IWAE needs a posterior with a density"):
        fit(OBJECTIVES[4], variational_family=POINT)
    with pytest.raises(PartError, match=r"TotalCorrelation.*posteriors.Gaussian"):
        fit(ELBO(0.0, penalties=(TotalCorrelation(),)), variational_family=POINT)


# ---- what penalties do to a fit: to codes that are free to lie anywhere, of data from two correlated factors

FACTORS = np.random.default_rng(0).normal(size=(400, 2)) @ np.array([[1.0, 0.9], [0.0, np.sqrt(1 - 0.9**2)]])
TABLE = FACTORS @ np.random.default_rng(1).normal(size=(2, 10)) + 0.1 * np.random.default_rng(2).normal(size=(400, 10))


def codes_of(*penalties):
    return fit(ELBO(0.0, penalties=penalties), TABLE, variational_family=POINT, max_epochs=30).transform(TABLE)


def discrepancy(codes):
    """Distance of codes from the prior, by the kernel that is not in the penalty."""
    z = torch.from_numpy(codes).float()[None]
    level = Level(z, normal(z[0], torch.ones(2)), normal(torch.zeros(2), torch.ones(2)))
    torch.manual_seed(0)
    return MMD(kernel="rbf", scales=(0.5,)).cost(Learned(), None, Trace(z[0], (level,), level.q)).item()


def test_autoencoders_with_a_prior_to_meet_meet_it():
    free = discrepancy(codes_of())
    assert discrepancy(codes_of(MMD(100.0))) < 0.25 * free
    assert discrepancy(codes_of(PriorCritic(3.0, network=networks.MLP((32,))))) < 0.5 * free


def test_a_factor_critic_takes_the_correlation_out_of_codes_unless_momentum_makes_it_circle(monkeypatch):
    def correlation(*penalties):
        return abs(np.corrcoef(codes_of(CodeNorm(0.1), *penalties).T)[0, 1])

    critic = FactorCritic(5.0, network=networks.MLP((32,)))
    plain = correlation()
    assert correlation(critic) < 0.4 * plain
    monkeypatch.setattr(ELBO, "adversarial", False)
    assert correlation(critic) > 0.4 * plain


def test_a_penalty_on_the_total_correlation_lowers_it():
    def dependence(*penalties):
        vae = fit(ELBO(penalties=penalties), max_epochs=30)
        z, s = (torch.from_numpy(a).float() for a in vae.posterior(DIGITS))
        draws = z + s * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        level = Level(draws[None], normal(z, s), None)
        return TotalCorrelation().cost(Learned(rows=torch.tensor(400.0)), None, Trace(z, (level,), level.q)).item()

    assert dependence(TotalCorrelation(20.0)) < 0.7 * dependence()


def test_regularised_decoders_are_smoother():
    def slope(*penalties, decoder=MLP):
        vae = fit(ELBO(0.0, penalties=penalties), variational_family=POINT, decoder=decoder, max_epochs=20)
        trace = vae.model_.trace(vae.scaling_(torch.from_numpy(DIGITS)).float())
        DecoderGradient().check_model(vae.model_, trace)  # lets pass what torch says of its own code, the first time
        return DecoderGradient().cost(Learned(), vae.model_, trace).item()

    plain = slope(CodeNorm(0.01))
    assert slope(CodeNorm(0.01), DecoderGradient(1.0)) < 0.5 * plain
    assert slope(CodeNorm(0.01), decoder=SMOOTH) < 0.5 * plain
