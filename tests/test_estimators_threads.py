"""Fits, samples and loads are independent of one another: in threads they give what they give one after the other, and
nothing of the process (generators, the number of threads) is read, set or moved."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from latentmap import VAE, Autoencoder, load, networks, objectives, posteriors, priors, recipes
from latentmap.model.noise import drawing_from, generator_for
from latentmap.training.device import SMALL_STEP, threads_for

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS = np.random.default_rng(0).random((48, 6, 6), dtype=np.float32)
LABELS = np.arange(48) % 3
TINY = networks.MLP((8,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 2, "batch_size": 16, "early_stopping": False}
CRITICS = {
    "penalties": (objectives.FactorCritic(network=TINY), objectives.MMD(), objectives.DecoderGradient(projections=1))
}
FITS = {
    **{name: QUICK | made() for name, made in recipes.every().items()},
    "map": QUICK | {"neighbors": 5},
    "supervised": QUICK | {"neighbors": 5, "supervised": 0.5},
    "penalties": QUICK | {"objective": objectives.ELBO(**CRITICS)},
    "mixture": QUICK | {"prior": priors.Mixture(3), "objective": objectives.ELBO(penalties=(objectives.MMD(),))},
    "flows": QUICK | {"prior": priors.Flow(width=8), "variational_family": posteriors.Flow("nsf", width=8)},
    "own network": QUICK
    | {"encoder": nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.3)), "neighbors": None},
    "some labels": QUICK | {"condition": "labels"},
}


def process():
    """Everything of the process that a fit could move."""
    threads = torch.get_num_threads(), torch.get_num_interop_threads()
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), threads


def outcome(name, seed):
    """Weights, codes and draws of one fit."""
    settings = FITS[name]
    y = np.where(np.arange(48) % 4, LABELS, -1) if name == "some labels" else LABELS
    components = 4 if settings.get("neighbors") is None else 2
    vae = VAE(components, **settings, random_state=seed).fit(DIGITS, y)
    given = {"y": LABELS[:5]} if vae.condition_ else {}
    drawn = [vae.transform(DIGITS, y)]
    if not isinstance(vae.model_.parts.posterior, posteriors.Quantizer):
        noise = vae.model_.parts.likelihood.has_density
        drawn += [vae.sample(5, random_state=seed, noise=noise, **given)]
    weights = {key: value.clone() for key, value in vae.model_.state_dict().items()}
    return weights, [row["loss"] for row in vae.history_], drawn


class Meddler(threading.Thread):
    """Draws from the process-wide generators and seeds them, as other people's threads do."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stop = threading.Event()

    def run(self):
        while not self.stop.wait(1e-4):
            torch.manual_seed(1), torch.rand(5), np.random.seed(1), np.random.rand(3)

    def __enter__(self):
        self.start()

    def __exit__(self, *error):
        self.stop.set()
        self.join()


@pytest.mark.parametrize("name", FITS)
def test_fits_in_threads_are_those_in_turn(name):
    before = process()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [outcome(name, seed) for seed in (0, 1)]
        assert process() == before
        with ThreadPoolExecutor(2) as pool, Meddler():
            found = list(pool.map(outcome, [name] * 2, (0, 1)))
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert str(expected[0]) != str(expected[1])  # the control: seeds differ


def test_what_draws_from_the_process_is_seen():
    """The control: a step that draws from torch's own generator is not the same with a meddler beside it."""

    class Careless(objectives.ELBO):
        def losses(self, own, model, trace, progress):
            return {
                player: loss * (1 + torch.rand(()))
                for player, loss in super().losses(own, model, trace, progress).items()
            }

    def losses():
        vae = VAE(2, **QUICK | {"neighbors": None, "max_epochs": 20}, objective=Careless(), random_state=0)
        return [row["loss"] for row in vae.fit(DIGITS).history_]

    torch.manual_seed(0)
    alone = losses()
    torch.manual_seed(0)
    with Meddler():
        assert losses() != alone


def test_draws_and_loads_in_threads_are_those_in_turn(tmp_path):
    rows = DIGITS.reshape(48, -1).copy()
    rows[::3, 4] = np.nan
    vae = VAE(2, **QUICK, random_state=0).fit(rows)
    vae.save(tmp_path / "run")

    def use(seed):
        ours = load(tmp_path / "run")
        prior = ours.given if seed < 0 else ours.fit_prior(rows, priors.Mixture(2), random_state=seed)
        return [
            prior.sample(20, random_state=seed, noise=True),
            vae.sample(20, random_state=seed),
            vae.impute(rows, random_state=seed),
            vae.impute(rows, n_draws=2, random_state=seed),
            vae.score_samples(rows, 5),
        ]

    before = process()
    expected = [use(seed) for seed in range(4)]
    assert process() == before
    with ThreadPoolExecutor(4) as pool, Meddler():
        found = list(pool.map(use, range(4)))
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_pieces_in_threads_are_those_in_turn():
    def stream(seed):
        model = Autoencoder(2, **QUICK, random_state=seed)
        for part in np.array_split(DIGITS.reshape(48, -1), 3):
            model.partial_fit(part)
        return model.transform(DIGITS.reshape(48, -1))

    expected = [stream(seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool, Meddler():
        np.testing.assert_array_equal(list(pool.map(stream, range(2))), expected)


def test_threads_of_one_fit_are_not_those_of_another():
    """OpenMP counts threads by the thread that asks; a process-wide setting would show in the other thread."""
    elsewhere, inside = [], []

    def look():
        elsewhere.append(torch.get_num_threads())

    def work(wide):
        if wide:
            torch.get_num_threads()
        with threads_for(SMALL_STEP / 2):
            inside.append(torch.get_num_threads())
            other = threading.Thread(target=look)
            other.start()
            other.join()

    before = torch.get_num_threads()
    work(wide=True)
    assert inside == [1] and elsewhere == [before] and torch.get_num_threads() == before
    with threads_for(2 * SMALL_STEP):
        assert torch.get_num_threads() == before


def test_random_functions_draw_from_the_generator_that_is_given():
    def everything():
        layers = [nn.Linear(3, 2), nn.Conv2d(2, 2, 3), nn.GRU(2, 2), nn.Embedding(3, 2), nn.Bilinear(2, 2, 2)]
        weights = [parameter.detach() for layer in layers for parameter in layer.parameters()]
        ones = torch.ones(2, 3, 4, 4)
        laws = [
            torch.distributions.Normal(torch.zeros(3), 1.0),
            torch.distributions.Laplace(torch.zeros(3), 1.0),
            torch.distributions.StudentT(torch.full((3,), 3.0)),
            torch.distributions.NegativeBinomial(torch.ones(3), logits=torch.zeros(3)),
            torch.distributions.ContinuousBernoulli(logits=torch.zeros(3)),
            torch.distributions.Categorical(logits=torch.zeros(4)),
        ]
        dropped = [nn.Dropout(0.5)(ones), nn.Dropout2d(0.5)(ones), torch.rand_like(ones), torch.randn_like(ones)]
        return [*weights, *(law.sample((5,)) for law in laws), *dropped]

    def drawn(seed):
        with drawing_from(generator_for(seed)):
            return everything()

    before = torch.get_rng_state()
    one, same, other = drawn(0), drawn(0), drawn(1)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b, c in zip(one, same, other, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
    assert one[-4].unique().tolist() == [0.0, 2.0]
    assert all(len(plane.unique()) == 1 for plane in one[-3].flatten(0, 1))  # whole planes are dropped
    everything()
    assert not torch.equal(torch.get_rng_state(), before)  # the control: outside, they draw from the process
