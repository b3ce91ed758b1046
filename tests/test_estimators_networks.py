"""Modules of the user's own: what they may return, what is added to them, and what is refused before the fit."""

import copy
import pickle
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from latentmap import VAE, Autoencoder, likelihoods, load, networks, posteriors
from latentmap.exceptions import ModelError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.modules import adapt_encoder
from latentmap.model.part import Sizes
from latentmap.model.priors import Normal

RNG = np.random.default_rng(0)
X = RNG.random((60, 8))
IMAGES, COLOUR = RNG.random((40, 8, 6)), RNG.random((40, 8, 6, 3))
MLP = networks.MLP((8,))
QUICK = {"max_epochs": 1, "neighbors": None, "random_state": 0, "encoder": MLP, "decoder": MLP}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def fit(X=X, y=None, n_components=2, **settings):
    return VAE(n_components, **QUICK | settings).fit(X, y)


def own(module):
    return networks.WithHeads(module)


def module(function):
    """A module without weights."""

    class Own(nn.Module):
        def forward(self, x):
            return function(x)

    return Own()


class Pair(nn.Module):
    """Mean and log-variance, or two heads of a decoder."""

    def __init__(self, inputs=8, out=2):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, out), nn.Linear(inputs, out)

    def forward(self, x):
        return self.first(x), self.second(x)


class Output(OrderedDict):
    """As pythae's: entries by name, which are attributes too."""


class Encoder(nn.Module):
    """An encoder of images in the style of pythae."""

    def __init__(self, names=("embedding", "log_covariance"), components=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
        self.names, self.heads = names, nn.ModuleList(nn.Linear(36, components) for _ in names)

    def forward(self, x):
        h = self.body(x)
        return Output((name, head(h)) for name, head in zip(self.names, self.heads, strict=True))


class Decoder(nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, channels * 48), nn.Unflatten(1, (channels, 8, 6)), nn.Sigmoid())

    def forward(self, z):
        return Output(reconstruction=self.layers(z))


# ---- heads that are declared


@pytest.mark.parametrize("posterior", [posteriors.Gaussian(), posteriors.Hamiltonian()], ids=repr)
@pytest.mark.parametrize("names", [("embedding", "log_covariance"), ("mu", "log_var")], ids=str)
def test_mean_and_log_variance_are_those_of_the_module(names, posterior):
    encoder = own(Encoder(names))
    parts = Parts(encoder, MLP, posterior, Normal(), likelihoods.Gaussian())
    model = GenerativeAutoencoder(parts, Sizes((8, 6), 2)).eval()
    x = torch.randn(5, 48)
    mean, log_variance = encoder.module(x.view(5, 1, 8, 6)).values()
    raw = model.encoder(x)
    q = posteriors.Gaussian().distribution(model.posterior_state, raw)
    torch.testing.assert_close(q.mean, mean)
    torch.testing.assert_close(q.variance, log_variance.exp())


@pytest.mark.parametrize("log_variance", [-13.8, -6.0, 0.0, 6.0, 13.8])
def test_a_log_variance_is_exact_and_beyond_its_bound_it_ends(log_variance):
    values = torch.full((1, 2), log_variance, dtype=torch.float64)
    part, bound = posteriors.Gaussian(), 2 * 7 * 0.99
    variance = part.distribution(None, part.from_moments(values, values)).variance
    torch.testing.assert_close(variance, values.exp())
    far = part.distribution(None, part.from_moments(values, values * 1e9)).variance.log()
    torch.testing.assert_close(far, values.sign() * bound)


def test_a_pair_one_tensor_and_a_dictionary_are_the_same_encoder():
    pair = Pair()
    forms = [pair, module(lambda x: torch.cat(pair(x), -1)), module(lambda x: dict(zip(("mu", "logvar"), pair(x))))]
    sizes, part = Sizes((8,), 2), posteriors.Gaussian()
    found = [adapt_encoder(own(form), sizes, 4, part)(torch.ones(3, 8)) for form in forms]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


def test_nothing_is_added_to_declared_heads_and_images_come_back_the_right_way_up():
    decoder = Decoder(channels=3)
    vae = fit(COLOUR, decoder=own(decoder))
    assert vae.choices_["decoder"] == "WithHeads(Decoder) (given)"
    assert sum(isinstance(m, nn.Linear) for m in vae.model_.decoder.modules()) == 1
    z = torch.zeros(1, 2)
    inside = next(m for m in vae.model_.decoder.modules() if isinstance(m, Decoder))
    image = inside(z)["reconstruction"][0].permute(1, 2, 0)
    torch.testing.assert_close(vae.model_.decoder(z).view(8, 6, 3), image)


def test_heads_of_a_likelihood_come_as_a_tuple_or_as_one_tensor():
    levels, pair = (X * 3).round().astype(np.float32), Pair(2, 8)
    part = likelihoods.DiscretizedLogistic(levels=4)
    forms = pair, module(lambda z: torch.stack(pair(z), -1))
    models = [fit(levels, decoder=own(form), likelihood=part).model_.decoder for form in forms]
    for model in models:
        assert model(torch.zeros(2, 3, 2)).shape == (2, 3, 8, 2)
    z = torch.ones(3, 2)
    (first, second), raw = next(m for m in models[0].modules() if isinstance(m, Pair))(z), models[0](z)
    torch.testing.assert_close(raw, torch.stack([first, second], -1))


def test_an_autoencoder_takes_the_code():
    for encoder in (Encoder(("embedding",)), nn.Sequential(nn.Flatten(), nn.Linear(48, 2))):
        model = Autoencoder(2, encoder=own(encoder), decoder=own(Decoder()), max_epochs=1, random_state=0).fit(IMAGES)
        assert model.transform(IMAGES).shape == (40, 2) and model.reconstruct(IMAGES).shape == IMAGES.shape


def test_declared_heads_are_saved_loaded_cloned_and_pickled(tmp_path):
    vae = fit(IMAGES, encoder=own(Encoder()), decoder=own(Decoder()))
    vae.save(tmp_path)
    again = load(tmp_path, encoder=own(Encoder()), decoder=own(Decoder()))
    np.testing.assert_array_equal(again.transform(IMAGES), vae.transform(IMAGES))
    with pytest.raises(ModelError, match=r"encoder, a WithHeads\(Encoder\): .*encoder=networks\.WithHeads\(\.\.\.\)"):
        load(tmp_path, encoder=Encoder(), decoder=own(Decoder()))
    for other in (clone(vae), pickle.loads(pickle.dumps(vae)), copy.deepcopy(vae)):
        assert other.fit(IMAGES).choices_["encoder"] == "WithHeads(Encoder) (given)"


def test_a_map_leaves_trained_heads_as_they_are():
    encoder = nn.Linear(8, 4)
    vae = VAE(2, encoder=own(encoder), max_epochs=1, learning_rate=1e-12, random_state=0).fit(X)
    kept = next(m for m in vae.model_.encoder.modules() if isinstance(m, nn.Linear))
    torch.testing.assert_close(kept.weight, encoder.weight)


def test_heads_work_with_conditions_missing_cells_and_compiled_steps():
    y = np.arange(60) % 2
    settings = {n: v for n, v in QUICK.items() if n != "neighbors"}
    heads = {"encoder": own(nn.Linear(8, 4)), "decoder": own(nn.Linear(4, 8))}
    assert np.isfinite(VAE(2, condition="labels", **settings | heads).fit(X, y).score(X, y))
    holed = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
    assert np.isfinite(fit(holed, encoder=own(nn.Linear(8, 4)), decoder=own(nn.Linear(2, 8))).score(holed))
    with pytest.raises(PartError, match="missing classes are inferred from features"):
        VAE(2, condition="labels", **settings | heads).fit(X, np.where(np.arange(60) % 5 == 0, np.nan, y))
    with pytest.raises(PartError, match="a ladder has heads for each level"):
        fit(ladder=(3,), encoder=own(nn.Linear(8, 4)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"encoder": own(nn.Linear(8, 2))},
            r"tensor of shape \(2, 2\): Gaussian with n_components=2 takes mean",
        ),
        ({"encoder": own(Pair(8, 3))}, r"tuple of \(2, 3\), \(2, 3\): Gaussian .* \(N, 2\) each; .*n_components="),
        ({"encoder": own(module(lambda x: (x, x, x)))}, r"tuple of .*: Gaussian with n_components=2 takes mean"),
        ({"encoder": own(module(lambda x: torch.distributions.Normal(x, 1.0)))}, "returned a Normal: Gaussian"),
        ({"encoder": own(nn.Linear(8, 4)), "variational_family": posteriors.Sphere()}, r"Sphere .*one tensor \(N, 3\)"),
        ({"decoder": own(nn.Linear(2, 7))}, r"\(2, 7\): the likelihood takes 1 number for each of 8 features"),
        ({"decoder": own(Pair(2, 8))}, r"tuple of \(2, 8\), \(2, 8\): the likelihood takes 1 number"),
        (
            {"decoder": own(nn.Sequential(nn.Linear(2, 8), nn.Sigmoid())), "likelihood": likelihoods.Bernoulli()},
            "likelihood Bernoulli takes logits, and your decoder ends with a Sigmoid",
        ),
    ],
)
def test_declared_heads_that_are_others_are_refused(settings, message):
    with pytest.raises(PartError, match=message) as error:
        fit(**settings)
    assert "\n" not in str(error.value)


def test_images_with_channels_last_are_not_taken_for_others():
    decoder = nn.Sequential(nn.Linear(2, 144), nn.Unflatten(1, (8, 6, 3)))
    with pytest.raises(PartError, match=r"shape \(2, 8, 6, 3\): .*one tensor \(N, 144\) or \(N, 3, 8, 6\)"):
        fit(COLOUR, decoder=own(decoder))


# ---- layers that are added


def test_the_layer_that_is_added_is_named():
    vae = fit(encoder=nn.Sequential(nn.Linear(8, 5), nn.ReLU()), decoder=nn.Linear(2, 8))
    assert vae.choices_["encoder"].endswith("a linear layer from its 5 features to the 4 numbers of q(z|x) is added")
    assert "to the 8 numbers of p(x|z) is added; networks.WithHeads would take them" in vae.choices_["decoder"]
    assert "added" not in "".join(fit().choices_.values())


# ---- modules that are refused


class Squeeze(nn.Linear):
    def forward(self, x):
        return super().forward(x).squeeze()


class TwiceInTraining(nn.Linear):
    """As torchvision's Inception, another output in training."""

    def forward(self, x):
        h = super().forward(x)
        return (h, h) if self.training else h


class HiddenState(nn.Module):
    """Makes a tensor of single precision, whatever its input."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(8, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(x[:, None], torch.zeros(1, len(x), 3))[0][:, 0]


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Linear(3, 4), r"must turn rows of shape \(2, 8\), float32, into one tensor .*2x8 and 3x4"),
        (nn.ModuleList([nn.Linear(8, 2)]), 'missing the required "forward"'),
        (Pair(), r"returned a tuple of \(2, 2\), \(2, 2\): .*mean and log-variance by networks\.WithHeads\(encoder\)"),
        (module(lambda x: Output(embedding=x)), r"returned a Output with embedding: .*networks\.WithHeads\(encoder\)"),
        (module(lambda x: (x, x, x)), r"one tensor of features \(N, ...\); return one tensor$"),
        (module(lambda x: None), "returned a NoneType"),
        (module(lambda x: x.numpy()), "returned a ndarray"),
        (module(lambda x: x.argmax(1, keepdim=True)), "returned int64: .*floating-point numbers; leave out argmax"),
        (module(lambda x: x.mean(0, keepdim=True)), "returned 1 rows for a batch of 2: expected one for each"),
        (module(lambda x: x.sum()), r"returned a tensor of shape \(\)"),
        (module(lambda x: x[:, :0]), r"returned a tensor of shape \(2, 0\)"),
        (Squeeze(8, 3), r"shape \(3,\): .*for a batch of one row too; leave out squeeze"),
        (TwiceInTraining(8, 3), r"returned a tuple of \(2, 3\), \(2, 3\)"),
        (module(lambda x: x[:, : 3 + len(x)]), "returned 4 features a row for one row and 5 otherwise"),
        (nn.Linear(8, 3).double(), r"has weights of float64 \(weight\): expected float32.*call \.float\(\)"),
        (nn.Embedding(4, 3), r"convert them within it, x\.long\(\), and fit with scaling='none'"),
        (module(lambda x: (x - 0.5).log()), r"returned \d+ of 16 values that are not finite, for inputs from 0"),
        (HiddenState(), r"float64 as the rows: .*same dtype.*x\.new_zeros\(\.\.\.\), or give rows of float32"),
        (module(lambda x: nn.functional.one_hot(x.long(), 4)[..., 0] + x.new_zeros(1)), "in the units of the model"),
        (torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)), None),
    ],
)
def test_modules_are_refused_in_one_line_before_the_fit(encoder, message):
    called = []
    rows = X * (9 if message == "in the units of the model" else 1)
    vae = VAE(2, **QUICK | {"encoder": encoder, "scaling": "none", "callbacks": [called.append]})
    if message is None:
        assert vae.fit(rows).transform(rows).shape == (60, 2)
        return
    with pytest.raises(PartError, match=message) as error:
        vae.fit(rows)
    assert str(error.value).startswith("your encoder") and "\n" not in str(error.value) and not called


def test_modules_that_cannot_be_copied_are_refused():
    with pytest.warns(FutureWarning):
        old = torch.nn.utils.weight_norm(nn.Linear(8, 3))
    with pytest.raises(PartError, match=r"cannot be copied.*parametrizations\.weight_norm"):
        fit(encoder=old)


def test_a_network_that_builds_another_shape_is_refused():
    @dataclass(frozen=True)
    class Wide(networks.Network):
        def encoder(self, sizes, out):
            return nn.Linear(sizes.features, out + 1)

        def decoder(self, sizes, heads):
            return nn.Linear(sizes.latent, sizes.features * heads)

    with pytest.raises(PartError, match=r"Wide builds for inputs \(2, 8\) returned .*\(2, 5\): expected \(2, 4\)"):
        fit(encoder=Wide())
    with pytest.raises(PartError, match=r"Wide builds for inputs \(2, 2\) returned .*\(2, 8\): expected \(2, 8, 1\)"):
        fit(decoder=Wide())


# ---- modules of many kinds


def test_probes_leave_running_statistics_and_modes_as_they_are():
    encoder = nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3).eval(), nn.Dropout(0.5))
    before = copy.deepcopy(encoder.state_dict())
    adapt_encoder(encoder, Sizes((8,), 2), 4)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert [m.training for m in encoder] == [True, False, True]


def test_lazy_layers_are_fitted_continued_and_loaded(tmp_path):
    def lazy():
        return nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.ReLU())

    vae = fit(encoder=lazy(), warm_start=True)
    assert vae.fit(X).n_iter_ == 2
    vae.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path, encoder=lazy()).transform(X), vae.transform(X))
    with pytest.raises(PartError, match="the fit to continue has"):
        vae.set_params(encoder=nn.Sequential(nn.LazyLinear(5))).fit(X)


def test_layers_that_share_weights_are_saved(tmp_path):
    def tied():
        layer = nn.Linear(8, 8)
        return nn.Sequential(layer, nn.ReLU(), layer)

    vae = fit(encoder=tied())
    vae.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path, encoder=tied()).transform(X), vae.transform(X))


def test_integers_reach_an_embedding():
    class Lookup(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(4, 3)

        def forward(self, x):
            return self.embed(x.long())

    levels = (X * 3).round()
    assert fit(levels, encoder=Lookup(), scaling="none").transform(levels).shape == (60, 2)
    with pytest.raises(PartError, match="index out of range.*which scaling= sets"):
        fit(levels, encoder=Lookup(), scaling="standard")
