"""The variational autoencoder, as a scikit-learn estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
from latentmap.objectives.metrics import Metric
from latentmap.objectives.semisupervised import SemiSupervised
from latentmap.training.device import Precision
from latentmap.training.loop import Callback

WARMUP = 0.3
"""Part of the fit of a ladder over which the rate sets in: at once, it would put the lower levels to sleep."""


class VAE(GenerativeEstimator):
    r"""Variational autoencoder: a map of the data that can be decoded, sampled and queried for likelihoods.

    An encoder gives each row x a distribution over codes, q(z|x) = N(mu(x), sigma^2(x)); a decoder gives each code a
    distribution over rows, p(x|z). Both are trained together to raise the evidence lower bound

    .. math:: \log p(x) \ge \mathbb{E}_{q(z|x)} \log p(x|z) - \mathrm{KL}(q(z|x) \,\|\, p(z)),

    the negative *distortion* minus the *rate*, in nats a row (Kingma and Welling 2014; Rezende et al. 2014). A fit ends
    with codes of mean 0 and variance 1 over the training rows, as at any optimum (docs/choices.md, standardised codes).

    Parameters
    ----------
    n_components : int or "auto", default=2
        Number of latent components; 2 draws a map. "auto" chooses 2, 4, 8 or 16 by the held-out evidence of short fits,
        and no neighbours, for a model that imputes, samples or scores (see `latentmap.purpose`).
    encoder, decoder : Network or Module, default=None
        A network of `latentmap.networks`, or a module of your own, or None to choose by the shape of a row. A module
        maps vectors (B, P) or images (B, C, H, W), or codes (B, D), to features, and a linear layer to the heads is
        added; one in `networks.WithHeads` has its own (docs/networks.md).
    variational_family : Posterior, default=None
        Family of q(z|x); None is a diagonal Gaussian.
    prior : Prior, default=None
        Prior of the latent codes; None is N(0, I).
    likelihood : Likelihood, default=None
        Distribution p(x|z); None chooses it by the values of the data.
    objective : Objective, default=None
        What is minimised; None is minus the ELBO, for a ladder with a warm-up.
    neighbors : int, "auto", array of shape (n, k), sparse matrix (n, n) or None, default="auto"
        Neighbours of each row that a map keeps near it, the nearer the stronger: the perplexity of t-SNE, over twice as
        many neighbours. Places by t-SNE come first, and the encoder learns them (`latentmap.objectives.Placed`); of
        more than 100,000 rows, or with another metric, a contrastive term is added to the objective
        (`latentmap.objectives.NeighborEmbedding`). None for none. "auto" is 30 for maps of 2 or 3 components, fewer for
        less than 240 training rows, 15 for more than 100,000, and none otherwise. Or the neighbours themselves, all
        alike: indices of the rows given to `fit`, alone or with distances, (indices, distances), or a sparse matrix of
        scipy or torch whose entries are edges. The graph may be in pieces.
        A map of up to 100,000 rows places new ones among them, and holds them: `latentmap.model.placement.Placement`.
    exaggeration : float, default=1.0
        Weight of the attraction between neighbours on a map, beside the repulsion of all rows: 1 keeps the most
        neighbours, as t-SNE; the more of it, the more a map shows groups and continuous structures in place of single
        rows, as UMAP and Laplacian eigenmaps do (Boehm, Berens and Kobak 2022).
    metric : {"euclidean", "cosine", "correlation", "jaccard", "haversine"} or callable, default="euclidean"
        Metric of the neighbours: "euclidean" is the distance in the model's units, of encoder inputs. The others
        compare rows as they are given, whatever the scaling, and of a table of mixed columns encoder inputs: "cosine"
        by the angle, "correlation" by that after each row's mean is subtracted, "jaccard" as sets, rows of 0 and 1,
        "haversine" as places, longitude and latitude in degrees. A function returns the distance of two rows; it is
        called for every pair.
    neighbor_components : int, "auto" or None, default="auto"
        Leading principal components of the rows in which neighbours are searched, or None for all columns. "auto" takes
        all columns up to 200, of more the fewest components, 50 to 200, that hold four fifths of the variance.
    supervised : float, default=0.0
        Fraction of the neighbours that are replaced by any rows of the same class, by the labels that `fit` takes as
        ``y``: classes draw together on the map. Where ``y`` are numbers, by any of the twentieth of the rows with the
        nearest values: numbers that are not all whole, or have more than 20 levels of fewer than 10 rows each on
        average. Rows whose label is missing (None, NaN, or -1 among labels from 0) keep their neighbours. New rows need
        no label.
    density_weight : float, default=0.0
        Nats for each feature by which a map that keeps neighbours also keeps densities: the log radii of rows, by their
        distances to neighbours, are correlated with those in the data. 0 leaves them out (see
        `latentmap.objectives.NeighborEmbedding`).
    init : {"pca", "random"}, default="pca"
        "pca" lets the codes of a map that keeps neighbours start as the leading principal components of the rows, so
        that maps of refits agree; "random" starts at the initial weights of the seed.
    anchor : VAE, path or tuple of arrays, default=None
        An earlier fit, or the folder of its run, whose map the fit begins with and keeps: rows like its own stay, and
        others find their places among them (docs/maps.md, growing data). Columns, units and networks are those of the
        anchor, and codes are not standardised. `partial_fit` is anchored too, at a twentieth of the learning rate. Or
        (indices, codes): rows given to `fit`, and the places (m, n_components) that they are to have on the map. A run
        keeps a path; in the place of an estimator, later fits of a loaded run are anchored to the run itself.
    condition : {"labels", "covariates"} or None, default=None
        What the model is conditioned on: classes of any type, or numbers, which are standardised. `fit` and every
        method that encodes, decodes or scores then take it as ``y``: p(x|z, y) draws rows of a given class, and z holds
        what the class does not say (conditional VAE; Kingma et al. 2014, Sohn et al. 2015). Labels may be missing for
        some rows (None, NaN, or -1 among labels from 0): the model infers them, and `predict` returns them (see
        `latentmap.objectives.SemiSupervised`). A prior that depends on the condition is
        `latentmap.priors.Conditional`; a map of such codes keeps no neighbours.
    ladder : sequence of int, default=None
        Components of further levels of codes below the first, from the top down, as in ``ladder=(8, 32)``; None for
        one level (ladder VAE, Sonderby et al. 2016; see `latentmap.model.ladder.Ladder`). `transform` returns the top
        level, `reconstruct` and `score_samples` use them all, `sample` draws them from the top down.
    columns : Columns, default=None
        For a data frame: what is known of some of its columns, as ``Columns({"age": "count"})``; None infers all of it
        where there are columns of text, categories or dates, and takes a frame of numbers for an array.
    scaling : {"auto", "none", "range", "center", "standard"}, default="auto"
        "range" is one shift and scale for all features, "center" shifts each by its mean, "standard" scales each, too.
    max_epochs, batch_size : int, default=None
        Passes over the rows, and rows in a batch; None chooses by the number of rows.
    learning_rate : float, default=None
        Learning rate of a layer of 256 inputs (docs/choices.md has the others'); None chooses by the batch size.
    early_stopping : bool, default=True
        Whether to hold rows out, stop when their objective no longer falls, and restore the best weights.
    validation_fraction : float, default=0.1
        Fraction of the rows that are held out.
    time_budget : float, default=None
        Seconds within which the fit and its schedule have to end; None for no limit. A fit that needs less is the same
        with and without it (docs/choices.md, time budgets).
    memory : str or int, default=None
        Memory that rows may take, such as "600MB"; None takes a quarter of what is free. A file that needs more is
        read block by block, in every epoch; its map keeps no neighbours.
    device : str, default="auto"
        Name of a device of torch; "auto" takes what the machine has.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type of matrix products in training.
    compile : bool or "auto", default="auto"
        Whether to compile the training step; "auto" compiles where that pays.
    warm_start : bool, default=False
        Whether another `fit` continues from the weights of the last.
    random_state : int, numpy generator or None, default=None
        Seed of the held-out rows, the initial weights, the order of rows and the noise. None draws a fresh one.
    callbacks : sequence of callable, default=None
        Functions of each new row of ``history_``, or of it and a `latentmap.callbacks.Progress`, such as
        `latentmap.callbacks.CSVLogger`. One that is a context manager is open during the fit.
    verbose : int, default=0
        1 shows a progress bar, 0 nothing.

    Attributes
    ----------
    history_ : list of dict
        One row for each evaluation: epoch, step, seconds, the loss and its parts by name, and the same of the held-out
        rows with ``val_`` in front; nats a row in the data's own units. The parts add up to the loss,

        .. math:: \text{loss} = \text{distortion} + \text{rate} + \text{further parts}, \qquad
                  -\mathrm{ELBO} = \text{distortion} + \text{rate},

        whatever the objective: ``rate_weighting`` is the change of the rate's weight by beta, a warm-up, a capacity or
        free bits, ``importance_weighting`` the difference of a bound of several draws; ``neighbors`` and
        ``global_correlation`` are the terms of a map, ``density_correlation`` where it keeps densities; each penalty
        has the name of its class (``mmd``), as have the costs of quantised codes (``commitment``); ``class_rate``,
        ``class_prior`` and ``classification`` belong to rows of classes that may be missing. The terms of critics are
        no part of it, since their scale changes during the fit, and neither is the loss of a critic; what an objective
        of your own adds without a name is ``penalty``. The row of the weights that are kept has ``standardised`` where
        it describes codes that were standardised after it.
    evaluation_ : Evaluation
        The row of the history whose weights were kept: ``loss``, ``parts`` and ``elbo``, the value of `score` for the
        held-out rows, up to the noise of its draws.
    kl_per_component_, active_components_ : ndarray of shape (n_components,)
        Nats that each component carries, and whether its mean varies over the rows (variance above 0.01).
    code_mean_, code_variance_ : ndarray of shape (n_components,)
        Moments of the posterior means over the rows.
    findings_ : tuple of Finding
        The diagnosis of the fit, in words.
    choices_ : dict of str
        What was chosen automatically, and why.
    classes_ : ndarray of shape (n_classes,)
        The classes, with ``condition="labels"``.
    loss_ : float
        Loss of the evaluation whose weights were kept, on the training rows.
    n_iter_, fit_seconds_, seed_, interrupted_ : int, float, int and bool
        Number of epochs, training time, seed of the fit, and whether it was interrupted.
    model_, scaling_, device_, prior_ : Module, Module, torch.device and Prior
        The model, the change of units between data and model, where they lie, and the prior of the model.
    data_schema_, data_fingerprint_, table_, event_shape_ : Schema, str, Table and tuple of int
        What the rows of the fit hold, their hash, the columns of a table (else None), and the shape of one row.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of values in a row, and the names of the columns of a data frame.
    condition_, given_, needs_y_, has_labels_ : Condition, object and bool
        How y becomes numbers, the y of `given`, whether rows have to come with y, and whether it holds labels.
    has_rate_, has_score_, takes_missing_ : bool
        Whether latent codes and rows have a density, and whether rows may have missing cells.
    manifold_ : {"flat", "sphere", "ball"}
        The space of the latent codes.
    history_units_ : {"data", "model"}
        Units of the history; "model" only in runs of version 0.1 whose units cannot be converted.
    state_ : FitState
        All of the above as one value, which a fit returns and `save` writes.

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
        n_components: int | Literal["auto"] = 2,
        *,
        encoder: Network | nn.Module | None = None,
        decoder: Network | nn.Module | None = None,
        variational_family: Posterior | None = None,
        prior: Prior | None = None,
        likelihood: Likelihood | None = None,
        objective: Objective | None = None,
        neighbors: int
        | Literal["auto"]
        | np.ndarray
        | tuple[Any, Any]
        | sparse.sparray
        | sparse.spmatrix
        | None = "auto",
        exaggeration: float = 1.0,
        metric: Metric | Callable[..., float] = "euclidean",
        neighbor_components: int | Literal["auto"] | None = "auto",
        supervised: float = 0.0,
        density_weight: float = 0.0,
        init: Literal["pca", "random"] = "pca",
        anchor: VAE | str | os.PathLike[str] | tuple[Any, Any] | None = None,
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
        self.exaggeration = exaggeration
        self.metric = metric
        self.neighbor_components: Components = neighbor_components
        self.supervised = supervised
        self.density_weight = density_weight
        self.init = init
        self.anchor = anchor
        self.condition = condition
        self.ladder = ladder

    def __sklearn_clone__(self) -> VAE:
        """Return a copy without its fit, with the anchor as it is: a clone of that would not be fitted."""
        clone: VAE = super().__sklearn_clone__()
        clone.anchor = self.anchor
        return clone

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
