"""The base of the estimators: fitting, saving and loading."""

from __future__ import annotations

import contextlib
import copy
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from latentmap.data.embeddings import Embed
from latentmap.data.locks import locked
from latentmap.data.memory import memory_in_words
from latentmap.data.sources import Source
from latentmap.estimators import diagnosis, persistence
from latentmap.estimators.anchor import Anchor, read_anchor
from latentmap.estimators.density import DensityMixin
from latentmap.estimators.encoding import EncodingMixin
from latentmap.estimators.fit import Fit
from latentmap.estimators.labelling import InfersLabels
from latentmap.estimators.memory import shared_memory
from latentmap.estimators.parameters import Parameters, check_parameters, read_seed
from latentmap.estimators.resuming import checkpoint_of_first, read_checkpoints, saved_checkpoint, seed_of_first
from latentmap.estimators.rows import open_as_fitted, open_for_fit, remember_features
from latentmap.estimators.selection import Chosen, choose_components, with_components
from latentmap.estimators.state import FitState, Graphs
from latentmap.estimators.summary import draw_codes, rate_per_component
from latentmap.exceptions import DiagnosisWarning, PartError
from latentmap.model.noise import drawing_from, generator_for
from latentmap.model.priors import Autoregressive, Prior
from latentmap.model.processes import current
from latentmap.training.checkpoint import Checkpoint, Checkpoints
from latentmap.training.density import fit_density

ADVICE = "give a smaller network or batch_size, fewer rows, or memory="
"""What to do where a fit runs out of memory."""
FIRST_PIECE = 30
"""Rows of a first piece below which a warning says that they are few to decide on units."""


class GenerativeEstimator(EncodingMixin, DensityMixin, InfersLabels):
    """Base of the estimators."""

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        checkpoint: str | os.PathLike[str] | Checkpoints | None = None,
        resume: bool = False,
    ) -> Self:
        """Learn the model from rows of data.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows (n, P), or images (n, height, width[, channels]); numbers, NaN where missing.
        y : array of shape (n,) or (n, C), default=None
            What each row is conditioned on, where the model takes it; else ignored, there for scikit-learn's pipelines.
        checkpoint : str, path or Checkpoints, default=None
            Folder to which the state of the fit is written now and then, so that it can be resumed; None writes
            nothing.
        resume : bool, default=False
            Whether to continue from the last checkpoint of the folder, or else from where this estimator's last fit was
            interrupted. With the same data and parameters the result is, on a CPU, bit for bit that of a fit without
            interruption. A folder that holds no checkpoint yet begins a new fit.

        Returns
        -------
        object
            The fitted estimator.

        Raises
        ------
        DataError
            If X is not rows of numbers; says where, and what to do.
        PartError
            If a parameter does not suit the data.
        ModelError
            If the fit to resume had other data, parameters or versions; says which.
        NotEnoughMemoryError
            If the fit needs more memory than is free; says how much, mostly before it starts.
        NumericsError
            If the loss was not finite at any evaluation. Where it was at some, the best weights are kept, and
            ``findings_`` says what happened.
        """
        check_parameters(self)
        anchor = read_anchor(self)
        last: FitState | None = getattr(self, "state_", None)
        earlier = last if self.warm_start else None
        checkpoints = read_checkpoints(checkpoint)
        processes = current()
        saved = checkpoint_of_first(lambda: saved_checkpoint(checkpoints, last, resume=resume), processes)
        own = self._shared()
        opened = None if anchor is None or anchor.estimator is None else anchor.open(self, X)
        source = open_for_fit(own, X) if opened is None else opened
        if saved is not None and not saved.facts["earlier_epochs"]:
            earlier = None
        elif saved is not None and earlier is not None and saved is earlier.trainer:  # what that fit began with
            earlier = replace(earlier, n_iter=saved.facts["earlier_epochs"], interrupted=False, trainer=None)
        seed = earlier.seed if earlier is not None else saved.facts["seed"] if saved else self._seed()
        if earlier is not None and not _has_columns_of(source, earlier):
            message = "the rows have other columns than those of the earlier fit, so warm_start begins a new one"
            warnings.warn(message, DiagnosisWarning, stacklevel=2)
            earlier = None
        if earlier is not None:
            source = open_as_fitted(self, earlier, source if earlier.table is None else X)
        if earlier is None and anchor is not None:
            earlier = anchor.start(self, seed)
        given = self.given_ if y is None else y
        if checkpoints is not None:
            checkpoints.writes = processes.rank == 0
        writes = checkpoints is not None and checkpoints.writes
        alone = locked(checkpoints.folder) if checkpoints is not None and writes else contextlib.nullcontext()
        with memory_in_words("the fit", ADVICE), alone:
            options: dict[str, Any] = {"checkpoints": checkpoints, "saved": saved, "anchor": anchor}
            options["graphs"] = None if saved is None or last is None else last.graphs
            self.state_ = self._fitted(own, source, given, seed, earlier, **options)
        remember_features(self, source)
        diagnosis.warn(self.findings_)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go over these rows once, from the present weights and at a constant learning rate.

        The first call decides on scaling, likelihood, network and classes from its rows: give it as many as stand for
        all, or begin with `fit`, after which pieces are learned at a twentieth of its rate (a ``learning_rate`` that is
        given is that of pieces, too).

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows, as for `fit`.
        y : array of shape (n,) or (n, C), default=None
            As for `fit`.

        Returns
        -------
        object
            The fitted estimator.
        """
        check_parameters(self)
        anchor = read_anchor(self)
        if anchor is not None and anchor.estimator is None:
            raise PartError("anchor names rows of a fit, and pieces have others: give an earlier fit, or leave it None")
        earlier: FitState | None = getattr(self, "state_", None)
        own = self._shared()
        first = earlier is None
        seed = self._seed() if earlier is None else earlier.seed
        if earlier is None and anchor is not None:
            source, earlier = anchor.open(self, X), anchor.start(self, seed)
        else:
            source = open_for_fit(own, X) if earlier is None else open_as_fitted(self, earlier, X)
        given = self.given_ if y is None else y
        with memory_in_words("the fit", ADVICE):
            self.state_ = self._fitted(own, source, given, seed, earlier, piece=True, anchor=anchor)
        if first:
            remember_features(self, source)
            if len(source) < FIRST_PIECE:
                message = (
                    f"the first piece, which decides on units and networks, has {len(source)} rows: give {FIRST_PIECE} "
                    "or more that stand for all, or begin with fit"
                )
                warnings.warn(message, DiagnosisWarning, stacklevel=2)
        diagnosis.warn(self.findings_)
        return self

    def _fitted(
        self,
        own: Parameters,
        source: Source,
        y: Any,
        seed: int,
        earlier: FitState | None,
        *,
        piece: bool = False,
        checkpoints: Checkpoints | None = None,
        saved: Checkpoint | None = None,
        anchor: Anchor | None = None,
        graphs: Graphs | None = None,
    ) -> FitState:
        """Return the result of a fit, with the number of components that was given or is chosen."""
        options: dict[str, Any] = {"seed": seed, "state": earlier, "piece": piece}
        options |= {"checkpoints": checkpoints, "saved": saved, "anchor": anchor, "graphs": graphs}
        if self.n_components != "auto":
            return Fit(own, source, y, **options).run()
        if saved is not None:
            described = saved.facts.get("chosen", "as before")
            chosen = Chosen(with_components(own, saved.facts["components"]), described)
        elif earlier is None:
            chosen = choose_components(own, source, y, seed)
        else:
            kept = with_components(own, earlier.model.sizes.latent)
            chosen = Chosen(kept, earlier.choices.get("n_components", "as before"))
        options |= {"spent": chosen.seconds, "chosen": chosen.described}
        state = Fit(chosen.parameters, source, y, **options).run()
        return replace(state, choices={"n_components": chosen.described} | state.choices)

    def _shared(self) -> Parameters:
        """Return the parameters of a fit, with memory that each of its processes has."""
        memory = shared_memory(self.memory, current())
        if memory == self.memory:
            return self
        own = copy.copy(self)
        own.memory = memory
        return own

    def _seed(self) -> int:
        """Return the seed of a fit, the same in all of its processes."""
        return seed_of_first(read_seed(self.random_state), current())

    def fit_prior(self, X: Any, prior: Prior, *, y: Any = None, random_state: Any = None) -> Self:
        """Fit a prior to the latent codes of rows; the model draws and scores with it from now on.

        Codes rarely lie as the prior of a model expects them, and those of an autoencoder have none; a density that is
        fitted to them afterwards gives better samples (Ghosh et al. 2020). Encoder and decoder stay as they are. It is
        fitted to one draw of q(z|x) for each row, and saved with the model; `fit` starts again with the one before,
        unless it is a warm start, which trains the model with this one.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows, as a rule those of the fit.
        prior : Prior
            ``priors.Mixture(10)``, ``Flow()``, ``TwoStage()`` or ``FittedNormal()``; ``Autoregressive()`` for
            quantised codes.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on; the prior does not depend on it.
        random_state : int, numpy generator or None, default=None
            Seed; None takes a fresh one.

        Returns
        -------
        object
            The estimator.

        Raises
        ------
        PartError
            If the model cannot have this prior; it then keeps the one that it has.
        """
        if not isinstance(prior, Prior):
            raise PartError(f"prior must be a part of latentmap.priors, such as Mixture(10), got {prior!r}")
        rows, given = self._rows(X, y)
        state, seed = self.state_, read_seed(random_state)
        with drawing_from(generator_for(seed)):
            model = state.model.with_prior(prior).to(state.device)
        fit_density(model, draw_codes(state, rows, given, seed, discrete=isinstance(prior, Autoregressive)), seed)
        described = f"{prior} (fitted to the codes of {len(rows)} rows)"
        state = replace(state, model=model, choices=state.choices | {"prior": described}, trainer=None)
        self.state_ = replace(state, kl_per_component=rate_per_component(state, rows, given))
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a folder: weights, configuration, history, model card; see `latentmap.load`.

        Parameters
        ----------
        path : str or path
            The folder, new or of an earlier run.

        Raises
        ------
        DataError
            If the folder cannot be written, or holds files that are not a run's.
        """
        persistence.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        encoder: Any = None,
        decoder: Any = None,
        embeddings: Mapping[str, Embed] | None = None,
    ) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path
            The folder.
        encoder, decoder : Module, default=None
            Networks of your own, where the model was fitted with such.
        embeddings : mapping of str to callable, default=None
            By column, the functions that embed its text, where the model was fitted with such.

        Returns
        -------
        object
            The fitted estimator.

        Raises
        ------
        ModelError
            If the folder is not a run, is damaged, was written by a newer version, or holds another class.
        """
        own: dict[str, Any] = {"encoder": encoder, "decoder": decoder, "embeddings": embeddings}
        estimator: Self = persistence.load(path, **own, expected=cls)
        return estimator


def _has_columns_of(source: Source, state: FitState) -> bool:
    """Return whether rows have the shape of those of a fit, and its columns where these are of several kinds."""
    if source.table is None or state.table is None:
        return source.table is state.table and source.first.shape[1:] == state.event_shape
    return set(source.table.names) == set(state.table.names)
