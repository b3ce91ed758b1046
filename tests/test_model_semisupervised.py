"""Labels that some rows lack: the evidence summed over classes, and what the estimator infers."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch.distributions import MultivariateNormal

from latentmap import VAE, likelihoods, load, networks, posteriors, priors
from latentmap.exceptions import DataError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Sizes
from latentmap.objectives import ELBO, SemiSupervised

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

LINEAR = networks.MLP(())
P, D, C, S = 4, 2, 3, 0.7


def mixture(wrong=0.0, classes=C):
    """Linear Gaussian models of one covariance, whose posteriors q(z|x, c) and q(c|x) are exact; rows; log p(x|c)."""
    torch.manual_seed(0)
    w = torch.linalg.qr(torch.randn(P, D))[0] * torch.tensor([2.0, 0.5])  # W'W is diagonal, and so is the posterior
    v = torch.randn(P, classes) + w[:, :1] * torch.linspace(-1, 1, classes) * (classes == 2)  # two lie apart
    parts = Parts(LINEAR, LINEAR, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian(scale=S))
    model = GenerativeAutoencoder(parts, Sizes(event=(P,), latent=D, condition=classes, some_labels=True))
    variance = 1 / ((w.T @ w).diagonal() / S**2 + 1)
    covariance = w @ w.T + S**2 * torch.eye(P)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        encoder, classifier = model.encoder[0], model.classifier[0]
        encoder.weight[:D] = variance[:, None] * w.T / S**2
        encoder.bias[D:] = 7 * torch.atanh(0.5 * variance.log() / 7)
        model.shift.weight.copy_(-v)
        model.decoder[0][0].weight.copy_(torch.cat([w, v], 1))
        classifier.weight.copy_(torch.linalg.solve(covariance, v).T)
        classifier.bias.copy_(-0.5 * (v * torch.linalg.solve(covariance, v)).sum(0) + wrong * torch.arange(classes))
    x = torch.randn(6, P)
    return model, x, MultivariateNormal(v.T[:, None], covariance).log_prob


def cost(model, x, known, weight=1.0):
    """Mean over many draws of the objective's loss."""
    own, given = SemiSupervised(weight).build(model.sizes), model.given(known)
    rows = x.repeat(4000, 1)
    given = model.given(known.repeat(4000, 1))
    return SemiSupervised(weight).losses(own, given, given.trace(rows), torch.ones(()))["model"]


def test_codes_and_reconstructions_of_rows_without_class_take_the_probabilities_of_the_classes():
    model, x, _ = mixture()
    known = torch.zeros(6, C)
    known[:2, 1] = 1
    with torch.no_grad():
        chances = torch.where(known.any(1, keepdim=True), known, model.classify(x).exp())
        assert chances.sum(1).numpy() == pytest.approx(1)
        found, expected = model.given(known), model.given(chances)
        torch.testing.assert_close(found.encode(x).mean, expected.encode(x).mean)
        torch.testing.assert_close(found.reconstruct(x).mean, expected.reconstruct(x).mean)
        wrong = model.given(torch.where(known.any(1, keepdim=True), known, 1 / C)).encode(x).mean
        assert (found.encode(x).mean - wrong)[2:].abs().max() > 0.01, "control"


def test_with_exact_posteriors_rows_without_class_cost_minus_their_evidence():
    model, x, density = mixture()
    evidence = (density(x).logsumexp(0) - math.log(C)).mean()
    assert abs(cost(model, x, torch.zeros(6, C)) + evidence) < 0.05
    control, _, _ = mixture(wrong=1.0)
    assert cost(control, x, torch.zeros(6, C)) + evidence > 0.1


def test_rows_with_a_class_cost_their_joint_evidence_and_the_classifiers_surprise():
    model, x, density = mixture()
    log_p = density(x)
    y = torch.arange(6) % C
    joint = log_p.gather(0, y[None]).mean() - math.log(C)
    surprise = -(log_p - log_p.logsumexp(0)).gather(0, y[None]).mean()
    known = torch.nn.functional.one_hot(y, C).float()
    assert abs(cost(model, x, known, weight=3.0) - (3 * surprise - joint)) < 0.05


def test_the_classifier_learns_from_known_classes_by_the_weight_alone():
    model, x, _ = mixture()
    known = torch.nn.functional.one_hot(torch.arange(6) % C, C).float()

    def gradient(known, weight):
        bias = model.classifier[0].bias
        return torch.autograd.grad(cost(model, x, known, weight), bias)[0]

    torch.testing.assert_close(gradient(known, 2.0), 2 * gradient(known, 1.0))
    missing = torch.zeros_like(known)
    torch.testing.assert_close(gradient(missing, 2.0), gradient(missing, 1.0), atol=0.05, rtol=0)
    assert gradient(torch.cat([known[:3], missing[3:]]), 1.0).abs().max() > 0.01


@pytest.fixture(scope="module")
def some():
    """Three kinds of digits, of which twelve rows are labelled."""
    X, y = load_digits(n_class=3, return_X_y=True)
    few = np.full(len(y), -1)
    few[12:24] = y[12:24]
    settings = {"encoder": networks.MLP((64,)), "decoder": networks.MLP((64,)), "max_epochs": 40}
    return X, y, few, VAE(4, condition="labels", random_state=0, **settings).fit(X, few)


def test_rows_without_label_teach_what_the_labelled_alone_do_not(some):
    X, y, few, vae = some
    unlabelled = few < 0
    alone = KNeighborsClassifier(1).fit(X[~unlabelled], y[~unlabelled]).score(X[unlabelled], y[unlabelled])
    found = (vae.predict(X)[unlabelled] == y[unlabelled]).mean()
    assert found > alone + 0.05
    assert vae.classes_.tolist() == [0, 1, 2]
    np.testing.assert_allclose(vae.predict_proba(X[:5]).sum(1), 1, rtol=1e-5)


def test_methods_take_rows_with_and_without_label(some):
    X, _, few, vae = some
    codes = vae.transform(X)  # no y at all: every label is inferred
    assert np.array_equal(codes, vae.transform(X, np.full(len(X), -1)))
    mixed = vae.transform(X[12:14], [few[12], None])
    assert not np.allclose(mixed[0], codes[12], atol=1e-3) or vae.predict_proba(X[12:13]).max() > 0.99
    np.testing.assert_allclose(mixed[1], codes[13], atol=1e-5)
    assert vae.reconstruct(X[:3]).shape == (3, 64) and vae.sample(4, y=[0, 1, 2, 0]).shape == (4, 64)
    assert np.array_equal(np.unique(vae.predict(vae.sample(60, random_state=0))), [0, 1, 2])  # classes are drawn too
    with pytest.raises(DataError, match="a label for every code"):
        vae.inverse_transform(codes[:2])


def test_a_row_without_label_scores_by_all_classes(some):
    X, _, _, vae = some
    each = np.stack([vae.score_samples(X[:7], 5, y=np.full(7, c)) for c in range(3)])
    expected = logsumexp(each, 0) - np.log(3)
    np.testing.assert_allclose(vae.score_samples(X[:7], 5), expected, rtol=1e-5)
    partly = vae.score_samples(X[:2], 5, y=[None, 1])
    np.testing.assert_allclose(partly, [expected[0], each[1, 1]], rtol=1e-5)
    with pytest.raises(DataError, match="a label for every row"):
        vae.log_weights(X[:2], 5)


def linear_estimator(wide=0.0):
    """A fitted estimator of two classes with the weights of `mixture`, rows in double, and log p(x) of each.

    Its posteriors q(z|x, c) are exact, or ``wide`` nats too wide in the logarithm of each scale.
    """
    model, x, density = mixture(classes=2)
    x[:2] = model.decoder[0][0].weight.detach()[:, D:].mean(1) + 0.1 * x[:2]  # halfway between the classes
    each = density(x)
    with torch.no_grad():
        model.encoder[0].bias[D:] += wide
    settings = {"variational_family": posteriors.Gaussian(), "likelihood": likelihoods.Gaussian(scale=S)}
    vae = VAE(D, condition="labels", encoder=LINEAR, decoder=LINEAR, scaling="none", max_epochs=1, **settings)
    vae.fit(x.numpy(), [0, 1, None, 0, 1, None]).model_.load_state_dict(model.state_dict())
    return vae, x.double().numpy(), (each.double().logsumexp(0) - math.log(2)).numpy()


def test_with_exact_posteriors_a_row_without_label_scores_its_density_from_any_number_of_draws(agree):
    vae, x, log_p = linear_estimator()
    for n_samples in (1, 2, 70):
        found = vae.score_samples(x, n_samples)
        agree("score of a row without label, exact posteriors", "mixture of two Gaussians", found, log_p, 1e-5)
    labelled = np.stack([vae.score_samples(x, 1, y=[c] * 6) for c in (0, 1)])  # the rate in closed form
    assert np.abs(logsumexp(labelled, 0) - math.log(2) - log_p).max() > 0.1


@pytest.mark.parametrize("wide", [0.0, 0.5, -0.5])
def test_the_score_of_rows_without_label_is_a_lower_bound_in_expectation(wide):
    vae, x, log_p = linear_estimator(wide)
    n = 8000
    rows = (x[:2, None] + 1e-5 * np.random.default_rng(0).normal(size=(2, n, P))).reshape(-1, P)  # noise of their own
    elbo = np.stack([vae.score_samples(rows, y=[c] * len(rows)) for c in (0, 1)])
    log_q = np.log(vae.predict_proba(rows)).T
    inferred = (np.exp(log_q) * (elbo - log_q)).sum(0) - math.log(2)  # what the objective raises
    control = logsumexp(elbo, 0) - math.log(2)  # exponentials of single ELBOs

    def above(values, reference):
        """How far the mean lies above the reference, and four standard errors of it."""
        apart = (values - reference).reshape(2, n)
        return apart.mean(1), 4 * apart.std(1) / math.sqrt(n) + 1e-4

    truth, before = np.repeat(log_p[:2], n), inferred
    for k in (1, 2, 8):
        found = vae.score_samples(rows, k)
        (over, error), (gain, noise) = above(found, truth), above(found, before)
        assert (over <= error).all() and (gain >= -noise).all()  # a bound, the tighter the more draws
        before = found
    over, error = above(control, truth)
    assert wide or (over > error).all()


def test_it_comes_back_from_a_folder(some, tmp_path):
    X, _, few, vae = some
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert np.array_equal(again.predict_proba(X), vae.predict_proba(X))
    assert np.array_equal(again.transform(X, few), vae.transform(X, few))


@pytest.mark.parametrize(
    "y", [["a", None, "b", "a", "b", None], [0.0, 1.0, np.nan, 1.0, 0.0, 1.0], [0, 1, -1, 1, 0, 1]]
)
def test_what_counts_as_missing(y):
    X = np.random.default_rng(0).normal(size=(6, 3))
    vae = VAE(2, condition="labels", encoder=LINEAR, decoder=LINEAR, max_epochs=1, random_state=0).fit(X, y)
    assert len(vae.classes_) == 2 and set(vae.predict(X)) <= set(vae.classes_)


def test_minus_one_is_a_class_beside_one_other(some):
    X = np.random.default_rng(0).normal(size=(6, 3))
    vae = VAE(2, condition="labels", encoder=LINEAR, decoder=LINEAR, max_epochs=1, random_state=0)
    assert vae.fit(X, [-1, 1, -1, 1, 1, 1]).classes_.tolist() == [-1, 1]
    assert not hasattr(vae, "predict")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"objective": ELBO()}, "SemiSupervised"),
        ({"ladder": (3,)}, "a ladder needs the class of every row"),
        ({"variational_family": posteriors.Deterministic(), "prior": priors.FittedNormal()}, "density"),
    ],
)
def test_what_cannot_infer_labels_refuses(settings, message):
    X, y = np.random.default_rng(0).normal(size=(6, 3)), [0, 1, None, 1, 0, 1]
    with pytest.raises(PartError, match=message):
        VAE(2, condition="labels", max_epochs=1, random_state=0, **settings).fit(X, y)


def test_the_objective_refuses_models_without_missing_labels():
    X = np.random.default_rng(0).normal(size=(6, 3))
    with pytest.raises(PartError, match="needs classes"):
        VAE(2, objective=SemiSupervised(), neighbors=None).fit(X)
    with pytest.raises(PartError, match="some rows have none"):
        VAE(2, condition="labels", objective=SemiSupervised()).fit(X, [0, 1] * 3)


def test_cells_of_a_row_without_label_are_filled_over_all_classes(agree):
    """Two classes whose rows move in opposite directions: what a cell says of another is known by its class alone."""
    rng = np.random.default_rng(0)
    y, z = rng.integers(2, size=400), rng.normal(size=400)
    X = np.stack([3 * y + 0.2 * rng.normal(size=400), z, np.where(y, z, -z)], 1)
    mlp = networks.MLP((16,))
    settings = {"encoder": mlp, "decoder": mlp, "max_epochs": 40, "random_state": 0, "condition": "labels"}
    vae = VAE(1, likelihood=likelihoods.Incomplete(), **settings).fit(X, np.where(np.arange(400) % 3, y, -1))
    rows = np.array([[np.nan, 1.5, np.nan], [0.0, 1.5, np.nan], [np.nan, -1.0, 1.0]])
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    model, scaling = copy.deepcopy(vae.model_).double(), vae.scaling_.double()
    with torch.no_grad():
        decoded = [model.given(c.expand(len(grid), -1)).decode(grid) for c in torch.eye(2, dtype=torch.float64)]
        means = torch.stack([scaling.inverse(p.mean) for p in decoded])  # (C, G, P)
        for labels in (None, [0, -1, 1]):
            found = vae.impute(rows, n_samples=4000, y=labels)
            for i, row in enumerate(rows):
                x = scaling(torch.from_numpy(row)[None])
                log_w = torch.stack([p.log_prob(x) - grid[:, 0] ** 2 / 2 for p in decoded])  # (C, G)
                if labels and labels[i] >= 0:
                    log_w[1 - labels[i]] = -torch.inf
                weight = log_w.flatten().softmax(0)
                exact = (weight[:, None] * means.flatten(0, 1)).sum(0).numpy()
                expected = np.where(np.isnan(row), exact, row)
                agree("impute, rows without label", "quadrature over z and classes", found[i], expected, 0.1)
    drawn = vae.impute(rows, n_draws=400, random_state=0)
    assert np.abs(drawn[:, 1, 2].mean() - vae.impute(rows, n_samples=4000)[1, 2]) < 0.2
