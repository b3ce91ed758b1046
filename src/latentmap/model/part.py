"""Parts: the pieces that a generative autoencoder is composed of.

A part is a frozen dataclass. Its fields are its configuration, so it can be compared, cloned and written as JSON; its
state is a separate `Learned` module that `Part.build` makes and that the part's methods take as ``own``. A new part is
one class: its fields, `Part.init`, and the methods of its base class.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import Tensor, nn

from latentmap.data.typed import made
from latentmap.exceptions import ModelError, PartError
from latentmap.model.processes import Processes, alone

MOST_UNITS = 2**24
"""The largest size of anything: beyond it a single layer of one feature takes gigabytes."""
MOST_LAYERS = 1000
"""The most layers, blocks, transforms or steps in sequence."""


@dataclass(frozen=True)
class Sizes:
    """Sizes that the parts of one model have in common.

    >>> Sizes(event=(8, 8), latent=2).features
    64
    """

    event: tuple[int, ...]
    """Shape of one row of data: ``(P,)``, ``(height, width)`` or ``(height, width, channels)``."""
    latent: int
    """D, the number of latent components."""
    rows: int | None = None
    """N, the number of training rows, where it is known: some objectives estimate over all of them."""
    condition: int = 0
    """C, the numbers of a row's condition; 0 for models without condition."""
    some_labels: bool = False
    """Whether the condition is a class that not every row has, so that the model has to infer it."""
    alphabet: tuple[int, int] = (0, 0)
    """Indices of a quantised code, and values that each may take."""
    below: tuple[int, ...] = ()
    """Components of the levels of codes below the top one, from the top down; none for models with one level."""

    @property
    def features(self) -> int:
        """P, the number of features of one row."""
        return math.prod(self.event)


class Learned(nn.Module):
    """State of a part: parameters, buffers and submodules by name.

    Attributes
    ----------
    processes
        Processes among which the rows of a batch are divided, during a fit.
    """

    processes: Processes = alone

    def __init__(self, **state: Tensor | nn.Module) -> None:
        super().__init__()
        for name, value in state.items():
            if isinstance(value, nn.Module):
                self.add_module(name, value)
            elif isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                self.register_buffer(name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Part:
    """Base of all parts."""

    _kinds: ClassVar[dict[str, type[Part]]] = {}
    _earlier: ClassVar[Mapping[str, Any]] = {}
    """Values of fields that parts of earlier versions lack, where these are not the defaults."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        Part._kinds[cls._kind()] = cls

    @classmethod
    def _kind(cls) -> str:
        """Return the name in JSON: package and class, so that saved runs load whichever module holds the class."""
        package = cls.__module__.removeprefix("latentmap.").removeprefix("model.").partition(".")[0]
        return f"{package}.{cls.__name__}"

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the initial parameters, buffers and submodules, by name.

        Parameters
        ----------
        sizes : Sizes
            Sizes of data and latent codes.

        Returns
        -------
        dict of Parameter, Tensor and Module
            What the part learns.
        """
        return {}

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for sizes that this part cannot take.

        Parameters
        ----------
        sizes : Sizes
            Sizes of data and latent codes.
        """

    def build(self, sizes: Sizes) -> Learned:
        """Return a new state for data and codes of these sizes.

        Parameters
        ----------
        sizes : Sizes
            Sizes of data and latent codes.

        Returns
        -------
        Learned
            A module of what `init` returns.
        """
        self.check(sizes)
        return Learned(**self.init(sizes))

    def claims(self, name: str, *methods: str) -> bool:
        """Return whether an attribute is true that the class makes a claim by about some of its methods.

        A claim does not pass to a subclass that overrides one of them, unless it makes it again.

        Parameters
        ----------
        name : str
            Attribute.
        *methods : str
            Methods.

        Returns
        -------
        bool
            Whether the claim holds.
        """
        order = type(self).__mro__
        claimed, *defined = (next(i for i, c in enumerate(order) if what in vars(c)) for what in (name, *methods))
        return bool(getattr(self, name)) and claimed <= min(defined)

    def to_json(self) -> dict[str, Any]:
        """Return the part as plain JSON: its kind and its fields.

        >>> from latentmap.model.likelihoods import Gaussian
        >>> Gaussian().to_json()
        {'part': 'likelihoods.Gaussian', 'scale': 'shared'}
        """
        fields = {f.name: _encode(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"part": self._kind(), **fields}

    @classmethod
    def from_json(cls, description: dict[str, Any]) -> Self:
        """Return the part that `to_json` described; raise a `ModelError` for an unknown kind.

        Parameters
        ----------
        description : dict
            What `to_json` returned.

        Returns
        -------
        Part
            An equal part.
        """
        fields = {name: _decode(value) for name, value in description.items() if name != "part"}
        name = str(description.get("part"))
        kind = Part._kinds.get(_RENAMED.get(name, name))
        if kind is None or not issubclass(kind, cls):
            raise ModelError(f"expected one of {sorted(Part._kinds)} as a part, got {description.get('part')!r}")
        return made(kind, {**kind._earlier, **fields})


_RENAMED = {"likelihoods.Columns": "likelihoods.Heterogeneous"}
"""Earlier names of parts, which saved runs may hold."""


def _encode(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _encode(v) for name, v in value.items()}
    return [_encode(v) for v in value] if isinstance(value, tuple | list) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict) and "part" in value:
        return Part.from_json(value)
    if isinstance(value, dict):
        return {name: _decode(v) for name, v in value.items()}
    return tuple(_decode(v) for v in value) if isinstance(value, list) else value


def positive(name: str, value: float, *, zero: bool = False) -> None:
    """Check that a setting is a finite positive number, or zero where allowed.

    >>> positive("beta", -1.0, zero=True)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: beta must be a finite number >= 0, got -1.0
    """
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise PartError(f"{name} must be a finite number {'>=' if zero else '>'} 0, got {value!r}")


def whole(name: str, value: float, *, least: int = 1, most: int = MOST_UNITS) -> None:
    """Check that a setting is a whole number between these.

    >>> whole("k", 0)
    Traceback (most recent call last):
    latentmap.exceptions.PartError: k must be a whole number >= 1, got 0
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PartError(f"{name} must be a whole number >= {least}, got {value!r}")
    if value > most:
        raise PartError(f"{name} must be at most {most:,}, got {value:,}")


class _Forwarded:
    def __init__(self, to: str) -> None:
        self.to = to
        self.__doc__ = f"Forward to ``{to}``."

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(getattr(instance, self.to), self.name)


def forwarded(to: str) -> Any:
    """Return a class attribute that forwards to that of the same name of the object in the attribute ``to``.

    >>> class Wrapper:
    ...     inner = "text"
    ...     upper = forwarded("inner")
    >>> Wrapper().upper()
    'TEXT'
    """
    return _Forwarded(to)
