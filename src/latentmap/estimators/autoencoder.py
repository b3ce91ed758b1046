"""The autoencoder, as a scikit-learn estimator."""

from __future__ import annotations

from typing import NoReturn

from torch import nn

from latentmap.estimators.base import GenerativeEstimator
from latentmap.exceptions import NoDensityError
from latentmap.model.autoencoder import Parts
from latentmap.model.likelihoods import Likelihood
from latentmap.model.networks import Network
from latentmap.model.posteriors import Deterministic
from latentmap.model.priors import FittedNormal
from latentmap.objectives.evidence import ELBO


class Autoencoder(GenerativeEstimator):
    r"""Autoencoder: an encoder z = e(x) and a decoder d(z), trained end to end so that d(e(x)) is close to x.

    It minimises the distortion alone, :math:`-\log p(x\,|\,z = e(x))`: the squared error, for a Gaussian likelihood.
    Codes may lie anywhere, with holes between them, and rows have no likelihood; `VAE` has the same methods without
    these limits.

    Parameters
    ----------
    n_components : int, default=2
        Number of latent components, as all that follows as for `VAE`.
    encoder, decoder : Network or Module, default=None
        Networks.
    likelihood : Likelihood, default=None
        Its negative log-density is the distortion.
    columns : Columns, default=None
        What is known of the columns of a data frame.
    scaling : {"auto", "none", "range", "center", "standard"}, default="auto"
        Change of units.
    max_epochs, batch_size : int, default=None
        Passes over the rows, and rows in a batch.
    learning_rate : float, default=None
        Learning rate.
    early_stopping : bool, default=True
        Whether to hold rows out, and restore the weights that suit them best.
    validation_fraction : float, default=0.1
        Fraction of the rows that are held out.
    time_budget : float, default=None
        Seconds within which the fit has to end.
    memory : str or int, default=None
        Memory that rows may take.
    device : str, default="auto"
        Name of a device of torch.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of matrix products in training.
    compile : bool or "auto", default="auto"
        Whether to compile the training step.
    warm_start : bool, default=False
        Whether another `fit` continues from the weights of the last.
    random_state : int, numpy generator or None, default=None
        Seed.
    callbacks : sequence of callable, default=None
        Functions that are called after each evaluation.
    verbose : int, default=0
        1 shows a progress bar, 0 nothing.

    Attributes
    ----------
    history_, evaluation_, loss_, findings_, choices_ : list, Evaluation, float, tuple and dict
        The course of the fit, the evaluation whose weights were kept, its loss, the diagnosis, and what was chosen.
    n_iter_, fit_seconds_, seed_, interrupted_ : int, float, int and bool
        Number of epochs, training time, seed of the fit, and whether it was interrupted.
    code_mean_, code_variance_, active_components_ : ndarray of shape (n_components,)
        Moments of the latent codes over the rows, and whether each component varies.
    model_, scaling_, device_, prior_ : Module, Module, torch.device and Prior
        The model, the change of units between data and model, where they lie, and the density of the codes.
    data_schema_, data_fingerprint_, table_, event_shape_ : Schema, str, Table and tuple of int
        What the rows of the fit hold, their hash, the columns of a table (else None), and the shape of one row.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of values in a row, and the names of the columns of a data frame.
    condition_, given_, kl_per_component_ : None
        What an autoencoder does not have.
    needs_y_, has_labels_, has_rate_, has_score_, takes_missing_ : bool
        As for `VAE`; the first four are False.
    manifold_, history_units_, state_ : str, str and FitState
        As for `VAE`.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X = load_breast_cancer().data
    >>> autoencoder = Autoencoder(2, max_epochs=5, random_state=0).fit(X)
    >>> autoencoder.reconstruct(X).shape
    (569, 30)
    """

    @property
    def score_samples(self) -> NoReturn:
        """Refuse: codes that are points leave rows without density."""
        raise NoDensityError(
            "Autoencoder has no density to score rows with, because its posterior is Deterministic; "
            "use VAE, or score() for the reconstruction error"
        )

    def _parts(self, encoder: Network | nn.Module, decoder: Network | nn.Module, likelihood: Likelihood) -> Parts:
        return Parts(encoder, decoder, Deterministic(), FittedNormal(), likelihood)

    def _objective(self, some_labels: bool = False) -> ELBO:
        return ELBO(beta=0.0)
