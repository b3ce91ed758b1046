"""What ``--set`` reads is what Python would have been given, and anything else is refused without being evaluated."""

import inspect

import pytest

from latentmap import VAE, Autoencoder, likelihoods, networks, objectives, posteriors
from latentmap.cli.settings import read_seconds, read_settings
from latentmap.cli.terminal import UsageError


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("max_epochs=5", "max_epochs", 5),
        ("max-epochs = 5", "max_epochs", 5),
        ("learning_rate=1e-3", "learning_rate", 1e-3),
        ("learning_rate=1", "learning_rate", 1.0),
        ("batch_size=none", "batch_size", None),
        ("early_stopping=false", "early_stopping", False),
        ("compile=True", "compile", True),
        ("compile=auto", "compile", "auto"),
        ("neighbors=auto", "neighbors", "auto"),
        ("scaling=range", "scaling", "range"),
        ("scaling='range'", "scaling", "range"),
        ("scaling=none", "scaling", "none"),
        ("device=cuda:0", "device", "cuda:0"),
        ("random_state=-1", "random_state", -1),
        ("likelihood=none", "likelihood", None),
        ("likelihood=Bernoulli", "likelihood", likelihoods.Bernoulli()),
        ("likelihood=likelihoods.Gaussian(0.1)", "likelihood", likelihoods.Gaussian(scale=0.1)),
        ("likelihood=Gaussian(scale=feature)", "likelihood", likelihoods.Gaussian(scale="feature")),
        ("variational_family=Gaussian", "variational_family", posteriors.Gaussian()),
        ("encoder=MLP(hidden=(400,), activation=relu)", "encoder", networks.MLP((400,), "relu")),
        ("encoder=MLP([400, 200])", "encoder", networks.MLP((400, 200))),
        ("objective=ELBO(beta=4)", "objective", objectives.ELBO(beta=4.0)),
        ("objective=ELBO(penalties=(MMD(10),))", "objective", objectives.ELBO(penalties=(objectives.MMD(10.0),))),
        ("decoder=SpectralNorm(MLP((8,)))", "decoder", networks.SpectralNorm(networks.MLP((8,)))),
    ],
)
def test_values_and_parts(text, name, value):
    settings = read_settings(VAE, [text])
    assert settings == {name: value} and type(settings[name]) is type(value)


def test_every_parameter_but_functions_can_be_set():
    for estimator in (VAE, Autoencoder):
        for name, parameter in inspect.signature(estimator).parameters.items():
            if name != "callbacks":
                default = parameter.default
                assert read_settings(estimator, [f"{name}={default}"]) == {name: default}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_epoch=5", "VAE has no parameter 'max_epoch': did you mean 'max_epochs'"),
        ("callbacks=none", "no parameter 'callbacks'"),
        ("max_epochs", "takes key=value, got 'max_epochs'"),
        ("max_epochs=", "max_epochs takes a whole number or none, got ''"),
        ("max_epochs=2.5", "max_epochs takes a whole number or none, got '2.5'"),
        ("max_epochs=true", "max_epochs takes a whole number or none, got 'true'"),
        ("early_stopping=yes", "early_stopping takes true or false, got 'yes'"),
        ("scaling=minmax", "scaling takes none, range, center, standard or auto, got 'minmax'"),
        ("learning_rate=1+1", "learning_rate takes a number or none, got '1 + 1'"),
        ("likelihood=Bernouli", "likelihood: no part is called 'Bernouli': did you mean 'Bernoulli'"),
        ("likelihood=ELBO", "likelihood: no part is called 'ELBO'"),
        ("likelihood=Likelihood", "no part is called 'Likelihood'"),
        ("likelihood=5", "likelihood takes Bernoulli, "),
        ("likelihood=Gaussian(sigma=1)", "likelihood: Gaussian has no setting 'sigma'"),
        ("likelihood=Gaussian(1, 2)", "Gaussian was given 2 settings and takes at most 1 (scale)"),
        ("likelihood=Bernoulli(1)", "Bernoulli was given 1 settings and takes none"),
        ("likelihood=Gaussian(scale=-1)", "likelihood: scale must be a finite number > 0"),
        ("likelihood=Gaussian(**{'scale': 1})", "Gaussian has no setting 'None'"),
        ("objective=ELBO(beta=x)", "objective: beta of ELBO takes a number, got 'x'"),
        ("objective=IWAE(k=5", "objective takes Anchored, DReG, ELBO"),
        ("encoder=MLP(hidden=400)", "hidden of MLP takes values in brackets such as (a, b), each a whole number"),
        ("encoder=MLP(hidden=(4.5,))", "hidden of MLP takes a whole number, got '4.5'"),
    ],
)
def test_refusals_say_what_is_expected(text, message):
    with pytest.raises(UsageError) as refusal:
        read_settings(VAE, [text])
    assert message in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["likelihood", "max_epochs", "random_state", "device", "compile"])
@pytest.mark.parametrize("code", ["__import__('os').mkdir('{}')", "[__import__('os').mkdir('{}')]"])
def test_nothing_is_evaluated(key, code, tmp_path):
    touched = tmp_path / "touched"
    eval(code.format(touched))  # the control: this code does something
    assert touched.exists()
    touched.rmdir()
    with pytest.raises(UsageError):
        read_settings(VAE, [f"{key}={code.format(touched)}"])
    assert not touched.exists()


def test_an_autoencoder_has_no_objective_to_set():
    with pytest.raises(UsageError, match="Autoencoder has no parameter 'objective'"):
        read_settings(Autoencoder, ["objective=ELBO"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("60s", 60), ("90 s", 90), ("0.5m", 30), ("5m", 300), ("2min", 120), ("2 Minutes", 120), ("1h", 3600)],
)
def test_durations(text, seconds):
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5x", "5ms", "2 mint", "-5", "0", "0m", "1h30", "nan", "inf"])
def test_refused_durations(text):
    with pytest.raises(UsageError, match="--budget takes a time such as"):
        read_seconds(text)
