"""The variational autoencoder, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import sparse
from torch import nn

from latentmap.data.scaling import ScalingKind
from latentmap.estimators.base import GenerativeEstimator
from latentmap.estimators.columns import Columns
from latentmap.estimators.conditions import Kind
from latentmap.exceptions import PartError
from latentmap.model.autoencoder import Parts
from latentmap.model.components import Components
from latentmap.model.likelihoods import Likelihood
from latentmap.model.networks import Network
from latentmap.model.posteriors import Gaussian, Posterior
from latentmap.model.priors import PLAIN, Prior
from latentmap.objectives.base import Objective
from latentmap.objectives.evidence import ELBO
from latentmap.objectives.neighbors import Metric
from latentmap.objectives.semisupervised import SemiSupervised
from latentmap.training.device import Precision
from latentmap.training.loop import Callback

WARMUP = 0.3
"""Part of the fit of a ladder over which the rate sets in: at once, it would put the lower levels to sleep."""


class VAE(GenerativeEstimator):
    r"""Variational autoencoder: a map of the data that can be decoded, sampled and asked for likelihoods.

    An encoder gives each row x a distribution over codes, q(z|x) = N(mu(x), sigma^2(x)); a decoder gives each code a
    distribution over rows, p(x|z). Both are trained together to raise the evidence lower bound

    .. math:: \log p(x) \ge \mathbb{E}_{q(z|x)} \log p(x|z) - \mathrm{KL}(q(z|x) \,\|\, p(z)),

    the negative *distortion* minus the *rate*, in nats a row (Kingma and Welling 2014; Rezende et al. 2014).

    Parameters
    ----------
    n_components
        Number of latent components; 2 draws a map.
    encoder, decoder
        A network of `latentmap.networks`, or your own module (rows to features, codes to features; it sees vectors
        (B, P) or images (B, C, H, W), and the heads are added), or None to choose by the shape of a row.
    variational_family, prior, likelihood, objective
        Parts of the model, the first being the family of q(z|x). None is a diagonal Gaussian, N(0, I), a choice by
        the values of the data, and the ELBO, for a ladder with a warm-up.
    neighbors
        Number of nearest rows that a map keeps near each row, by a contrastive term beside the objective (see
        `latentmap.objectives.NeighborEmbedding`); None for none. "auto" is 15 for maps of 2 or 3 components, fewer
        for less than 60 rows, and none otherwise. Or the neighbours themselves: indices (n, k) of the rows given to
        `fit`, or a sparse matrix (n, n) whose entries are edges. The graph may be in pieces.
    metric
        By what rows are neighbours: "euclidean" by their distance in the model's units, as the encoder sees them;
        "cosine" by the angle between the rows as they are given, whatever the scaling. Of a table of mixed columns,
        which has no such angle, it is that between rows as the encoder sees them.
    neighbor_components
        Leading principal components of the rows in which neighbours are sought, or None for all columns. "auto" takes
        all columns up to 200, of more the fewest components, 50 to 200, that hold four fifths of the variance.
    supervised
        Share of the neighbours, from 0 to 1, that are any rows of the same class instead, by the labels that `fit`
        takes as ``y``: classes draw together on the map. Rows whose label is missing (None, NaN, or -1 among labels
        from 0) keep the neighbours that they have. New rows need no label.
    init
        "pca" lets the codes of a map that keeps neighbours start as the leading principal components of the rows, so
        that maps of refits agree; "random" as the seed has it.
    condition
        What the model is conditioned on: None, "labels" (classes of any type) or "covariates" (numbers, standardised).
        `fit` and every method that encodes, decodes or scores then take it as ``y``: p(x|z, y) draws rows of a class
        that is asked for, and z holds what the class does not say (conditional VAE; Kingma et al. 2014, Sohn et al.
        2015). Labels may be missing for some rows (None, NaN, or -1 among labels from 0): the model infers them, and
        `predict` gives them (see `latentmap.objectives.SemiSupervised`). A prior that depends on the condition is
        `latentmap.priors.Conditional`; a map of such codes keeps no neighbours.
    ladder
        Components of further levels of codes below the first, from the top down, as in ``ladder=(8, 32)``; None for
        one level (ladder VAE, Sonderby et al. 2016; see `latentmap.model.ladder.Ladder`). `transform` gives the top
        level, `reconstruct` and `score_samples` use them all, `sample` draws them from the top down.
    columns
        For a data frame: what is known of some of its columns, as ``Columns({"age": "count"})``; None infers all of it
        where there are columns of text, categories or dates, and takes a frame of numbers for an array.
    scaling
        "auto", "none", "range" (one scale for all features) or "standard" (one for each).
    max_epochs, batch_size, learning_rate
        None chooses by the number of rows. The rate is that of a layer of 256 inputs; docs/choices.md has the others'.
    early_stopping, validation_fraction
        Whether to hold rows out, stop when their objective no longer falls, and restore the best weights; how many.
    time_budget
        Seconds within which the fit and its schedule have to end; None for no limit.
    memory
        How much of it rows may take, such as "600MB"; None takes a quarter of what is free. A file that needs more is
        read block by block, in every epoch; its map keeps no neighbours.
    device, precision, compile
        "auto" takes what the machine has; see `latentmap.training.device`.
    warm_start
        Whether another `fit` goes on from the weights of the last.
    random_state
        Seed of the held-out rows, the initial weights, the order of rows and the noise. None draws a fresh one.
    callbacks
        Functions of each new row of ``history_``, or of it and a `latentmap.training.callbacks.Progress`.
    verbose
        1 shows a progress bar, 0 nothing.

    Attributes
    ----------
    history_ : list of dict
        One row for each evaluation: epoch, step, seconds, the loss and its parts by name, and the same of the held-out
        rows with ``val_`` in front; nats a row in the data's own units. The parts add up to the loss,

        .. math:: \text{loss} = \text{distortion} + \text{rate} + \text{further parts}, \qquad
                  -\mathrm{ELBO} = \text{distortion} + \text{rate},

        whatever the objective: ``rate_weighting`` is what beta, a warm-up, a capacity or free bits make the rate cost
        beside itself, ``importance_weighting`` what a bound of several draws takes off; ``neighbors`` and
        ``global_correlation`` are the terms of a map; each penalty has the name of its class (``mmd``), as have the
        costs of quantised codes (``commitment``); ``class_rate``, ``class_prior`` and ``classification`` belong to rows
        of classes that may be missing. What critics add is no part of it, since their yardstick moves, and neither is
        the loss of a critic; what an objective of your own adds without a name is ``penalty``.
    evaluation_ : Evaluation
        That row of the history whose weights were kept: ``loss``, ``parts`` and ``elbo``, which is what `score` gives
        for the held-out rows, up to the noise of its draws.
    kl_per_component_, active_components_ : ndarray of shape (n_components,)
        Nats that each component carries, and whether its mean varies over the rows (variance above 0.01).
    findings_ : tuple of Finding
        The diagnosis of the fit, in words.
    classes_ : ndarray
        The classes, with ``condition="labels"``.
    choices_ : dict
        What was chosen automatically, and why.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().images
    >>> vae = VAE(2, max_epochs=5, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.sample(3, random_state=0).shape
    ((1797, 2), (3, 8, 8))
    """

    maps = True

    def __init__(
        self,
        n_components: int = 2,
        *,
        encoder: Network | nn.Module | None = None,
        decoder: Network | nn.Module | None = None,
        variational_family: Posterior | None = None,
        prior: Prior | None = None,
        likelihood: Likelihood | None = None,
        objective: Objective | None = None,
        neighbors: int | Literal["auto"] | np.ndarray | sparse.sparray | sparse.spmatrix | None = "auto",
        metric: Metric = "euclidean",
        neighbor_components: int | Literal["auto"] | None = "auto",
        supervised: float = 0.0,
        init: Literal["pca", "random"] = "pca",
        condition: Kind | None = None,
        ladder: Sequence[int] | None = None,
        columns: Columns | None = None,
        scaling: ScalingKind | Literal["auto"] = "auto",
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        time_budget: float | None = None,
        memory: str | int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool | str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            n_components,
            encoder=encoder,
            decoder=decoder,
            likelihood=likelihood,
            columns=columns,
            scaling=scaling,
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            time_budget=time_budget,
            memory=memory,
            device=device,
            precision=precision,
            compile=compile,
            warm_start=warm_start,
            random_state=random_state,
            callbacks=callbacks,
            verbose=verbose,
        )
        self.variational_family = variational_family
        self.prior = prior
        self.objective = objective
        self.neighbors = neighbors
        self.metric = metric
        self.neighbor_components: Components = neighbor_components
        self.supervised = supervised
        self.init = init
        self.condition = condition
        self.ladder = ladder

    def _parts(self, encoder: Network | nn.Module, decoder: Network | nn.Module, likelihood: Likelihood) -> Parts:
        posterior = self.variational_family or Gaussian()
        return Parts(encoder, decoder, posterior, self.prior or PLAIN[posterior.manifold], likelihood)

    def _objective(self, some_labels: bool = False) -> Objective:
        if some_labels:
            if isinstance(self.objective, SemiSupervised | None):
                return self.objective or SemiSupervised()
            raise PartError(
                "labels are missing for some rows, and objectives.SemiSupervised() alone infers them; "
                f"leave objective=None or drop those rows, got {self.objective!r}"
            )
        return self.objective or ELBO(warmup=WARMUP if self.ladder else 0.0)
