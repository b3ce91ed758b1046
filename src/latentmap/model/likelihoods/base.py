"""Base of likelihoods p(x|z), which interpret a decoder's output as a distribution over data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from latentmap.data.scaling import Scaling
from latentmap.data.schema import Schema
from latentmap.exceptions import PartError
from latentmap.model.noise import Noise
from latentmap.model.part import Learned, Part, Sizes


@dataclass(frozen=True)
class Likelihood(Part, ABC):
    """Base of likelihoods p(x|z): `distribution` interprets the decoder's ``heads`` numbers for each feature.

    A subclass defines `distribution`, and overrides what differs from a likelihood without state.
    """

    discrete: ClassVar[bool] = False
    """True for a probability mass (no change of units), False for a density."""
    has_density: ClassVar[bool] = True
    """Whether p(x|z) has a density or a mass, so that there is a bound and a score."""
    support: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    """Values that (scaled) data may take, ends included."""

    takes_sparse: ClassVar[bool] = True
    """Whether `encoder_inputs` takes sparse rows, too, and leaves their zeros as they are."""

    @property
    def heads(self) -> int:
        """Numbers that the decoder returns for each feature."""
        return 1

    @abstractmethod
    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> Distribution:
        """Return p(x|z), whose ``log_prob`` is -inf outside its support.

        Parameters
        ----------
        own : Learned
            State of this likelihood, from `build`.
        raw : Tensor of shape (*S, P, H)
            Decoder output: H = ``heads`` numbers for each of P features.

        Returns
        -------
        Distribution
            One for each feature, over (*S, P), independent given the code; or one over all of them.
        """

    def of_columns(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> Distribution:
        """Return p(x|z) of columns of a table, where the support may be narrower than in an array.

        Parameters
        ----------
        own, raw : Learned, Tensor of shape (*S, P, H)
            As for `distribution`.

        Returns
        -------
        Distribution
            As of `distribution`.
        """
        return self.distribution(own, raw)

    def scaling(self, schema: Schema) -> Scaling | None:
        """Return the scaling that the likelihood requires, or None where it takes any.

        Parameters
        ----------
        schema : Schema
            Description of the data in their own units.

        Returns
        -------
        Scaling or None
            The scaling.
        """
        return None

    def encoder_sizes(self, sizes: Sizes) -> Sizes:
        """Return the sizes of `encoder_inputs`.

        Parameters
        ----------
        sizes : Sizes
            Sizes of the model.

        Returns
        -------
        Sizes
            The same for other rows.
        """
        return sizes

    def decoder_sizes(self, sizes: Sizes) -> tuple[Sizes, int]:
        """Return the sizes of the decoder's output, and its numbers for each feature.

        Parameters
        ----------
        sizes : Sizes
            Sizes of the model.

        Returns
        -------
        tuple of Sizes and int
            Sizes of the output, and H.
        """
        return sizes, self.heads

    def is_discrete(self, features: int) -> Tensor:
        """Return whether the values of each feature have a mass rather than a density.

        Parameters
        ----------
        features : int
            Number of features P.

        Returns
        -------
        Tensor of shape (P,)
            Booleans.
        """
        return torch.full((features,), self.discrete)

    def blank(self, mean: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """Return the encoder's fill values for missing cells, by default the means of the columns.

        Parameters
        ----------
        mean : Tensor of shape (P,)
            Means of the columns.

        Returns
        -------
        Tensor of shape (P,)
            Fill values.
        """
        return mean

    def complete(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Fill missing cells, which only `Incomplete` has.

        Parameters
        ----------
        own, x : Learned, Tensor of shape (B, P)
            State of this likelihood, and scaled rows.

        Returns
        -------
        Tensor of shape (B, P)
            Complete rows.
        """
        return x

    def encoder_inputs(self, own: Learned, x: Float[Tensor, "B P"]) -> Float[Tensor, "B E"]:
        """Return rows in the encoder's units.

        Parameters
        ----------
        own, x : Learned, Tensor of shape (B, P)
            State of this likelihood, and scaled rows.

        Returns
        -------
        Tensor of shape (B, E)
            Inputs of the encoder.
        """
        return x

    def sizes_with_mask(self, sizes: Sizes) -> Sizes:
        """Return the sizes of the encoder's inputs with their mask (see `append_mask`).

        Parameters
        ----------
        sizes : Sizes
            Sizes of the model.

        Returns
        -------
        Sizes
            The same for rows with a mask.
        """
        return self.encoder_sizes(sizes)

    def append_mask(self, inputs: Float[Tensor, "B E"], x: Float[Tensor, "B P"]) -> Float[Tensor, "B M"]:
        """Append the mask of missing cells to the encoder's inputs, where there may be any.

        Parameters
        ----------
        inputs : Tensor of shape (B, E)
            From `encoder_inputs`.
        x : Tensor of shape (B, P)
            Scaled rows.

        Returns
        -------
        Tensor of shape (B, M)
            Inputs and mask.
        """
        return inputs

    def copies(self, x: Float[Tensor, "B P"], noise: Noise) -> Float[Tensor, "N P"] | None:
        """Return copies of the first rows with some cells hidden, as further training rows.

        Parameters
        ----------
        x : Tensor of shape (B, P)
            Scaled rows of a batch.
        noise : Noise
            Source of random numbers.

        Returns
        -------
        Tensor of shape (N, P) or None
            The copies, if there are any.
        """
        return None

    def start(self, own: Learned, x: Float[Tensor, "B P"]) -> None:
        """Initialise the state from training rows, before the first step.

        Parameters
        ----------
        own, x : Learned, Tensor of shape (B, P)
            State of this likelihood, and scaled rows.
        """

    def condition_on(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> Distribution:
        """Return p(x|z) given what the likelihood takes from the rows, such as their totals; the state stays as it is.

        Parameters
        ----------
        own : Learned
            State of this likelihood. In training mode an optimal scale is that of the batch.
        x : Tensor of shape (B, P)
            Scaled rows.
        px : Distribution
            The result of `distribution`.

        Returns
        -------
        Distribution
            As ``px``.
        """
        return px

    def update(self, own: Learned, x: Float[Tensor, "B P"], px: Distribution) -> None:
        """Update the running statistics with a training batch.

        Parameters
        ----------
        own, x, px : Learned, Tensor of shape (B, P), Distribution
            As for `condition_on`.
        """

    def check_data(self, schema: Schema, low: float, high: float) -> None:
        """Check that the data lie in the support.

        Parameters
        ----------
        schema : Schema
            Description of the data in their own units.
        low, high : float
            Range of the scaled values.

        Raises
        ------
        PartError
            If values lie outside; the message names an alternative.
        """
        lowest, highest = self.support
        if low < lowest or high > highest:
            raise PartError(
                f"likelihood {type(self).__name__} takes values from {lowest:g} to {highest:g}, "
                f"got {low:g} to {high:g} after scaling; use likelihoods.Gaussian() or scaling='range'"
            )

    def check_column(self, schema: Schema, low: float, high: float) -> None:
        """Check a column of a table, as `check_data` checks an array.

        Parameters
        ----------
        schema, low, high : Schema, float, float
            As for `check_data`.
        """
        self.check_data(schema, low, high)
