"""Check the docstrings of the public interface against the numpydoc standard: ``python -m tools.docstrings``.

Prints one line for each fault, and exits with 1 if there is any. The codes are those of `numpydoc.validate`; ``AT01``
and ``AT02`` compare the ``Attributes`` section of an estimator with the attributes that it has after `fit`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import ERROR_MSGS, Validator, validate
from sklearn.base import BaseEstimator

import latentmap

PACKAGES = ("latentmap.evaluation",)
"""Packages whose modules are public beside the names that `latentmap` exports."""
OPTIONAL = {"ES01", "EX01", "SA01"}
"""An extended summary, examples and references to other functions are no duty."""
LAYOUT = {"GL01", "GL02", "RT02"}
"""Where quotes stand, which ruff checks, and named return values: scikit-learn leaves these out as well."""
CODES = frozenset(ERROR_MSGS) - OPTIONAL - LAYOUT
SECTIONS = {"PR01", "RT01", "YD01"}
"""What is missing; a method that overrides a documented one may leave it to that."""
PROPERTIES = (property, functools.cached_property)

Fault = tuple[str, str, str]
"""Name of the object, code and message."""


def public_modules() -> Iterator[tuple[str, ModuleType]]:
    """Yield the public modules with the names that users import them by."""
    yield "latentmap", latentmap
    for name in latentmap.__all__:
        if inspect.ismodule(module := getattr(latentmap, name)):
            yield f"latentmap.{name}", module
    for package in map(importlib.import_module, PACKAGES):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield found.name, importlib.import_module(found.name)


def public_members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the classes and functions that a module exports, or defines where it has no ``__all__``."""
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    for name in names:
        value = getattr(module, name)
        own = hasattr(module, "__all__") or getattr(value, "__module__", None) == module.__name__
        if own and (inspect.isclass(value) or inspect.isfunction(value)):
            yield name, value


def public_methods(cls: type) -> Iterator[tuple[str, type, bool]]:
    """Yield the name, the defining class and whether it overrides another, of each method and property of this code."""
    for name in dir(cls):
        owners = [base for base in cls.__mro__ if name in vars(base)]
        if name.startswith("_") or not owners or not owners[0].__module__.startswith(cls.__module__.partition(".")[0]):
            continue
        if isinstance(vars(owners[0])[name], PROPERTIES) or inspect.isroutine(getattr(cls, name)):
            yield name, owners[0], any(getattr(vars(base)[name], "__doc__", None) for base in owners[1:])


def faults_of(name: str, *, overrides: bool = False) -> Iterator[Fault]:
    """Yield the faults of one docstring, by the full name of its object."""
    optional = set(SECTIONS) if overrides else set()
    if not Validator(get_doc_object(Validator._load_obj(name))).signature_parameters:
        optional |= {"RT01", "YD01"}  # the summary alone says what comes back
    for code, message in validate(name)["errors"]:
        if code in CODES - optional:
            yield name, code, message


def faults_of_module(name: str, module: ModuleType, seen: set[Any]) -> Iterator[Fault]:
    """Yield the faults of the classes of a module, their methods, and its functions, but for what was ``seen``."""
    for member, value in public_members(module):
        if value not in seen:
            seen.add(value)
            yield from faults_of(f"{name}.{member}")
            for method, owner, overrides in public_methods(value) if inspect.isclass(value) else ():
                if (owner, method) not in seen:
                    seen.add((owner, method))
                    yield from faults_of(f"{name}.{member}.{method}", overrides=overrides)


def fitted_attributes(cls: type[BaseEstimator]) -> set[str]:
    """Return the names of the public attributes that a fitted estimator has, properties included."""
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    conditional = {"condition": "labels"} if "condition" in inspect.signature(cls).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = cls(max_epochs=1, random_state=0, **conditional).fit(X, y)
    return {name for name in dir(fitted) if name.endswith("_") and not name.startswith("_")}


def faults_of_attributes(name: str, cls: type[BaseEstimator], attributes: Iterable[str]) -> Iterator[Fault]:
    """Yield the attributes of a fitted estimator that its docstring does not list, and those that it lists in vain."""
    section = get_doc_object(cls, config={"show_class_members": False})["Attributes"]
    listed = {each for entry in section for each in entry.name.split(", ")}
    for attribute in sorted(set(attributes) - listed):
        yield name, "AT01", f'Attribute "{attribute}" not documented'
    for attribute in sorted(listed - set(attributes) - {"feature_names_in_"}):  # which frames alone have
        yield name, "AT02", f'Unknown attribute "{attribute}"'


def all_faults() -> Iterator[Fault]:
    """Yield every fault of the public interface."""
    seen: set[Any] = set()
    for name, module in public_modules():
        yield from faults_of_module(name, module, seen)
    for name, value in public_members(latentmap):
        if inspect.isclass(value) and issubclass(value, BaseEstimator):
            yield from faults_of_attributes(f"latentmap.{name}", value, fitted_attributes(value))


def main() -> int:
    """Print every fault; return 1 if there is any."""
    faults = [f"{name}: {code} {message}" for name, code, message in all_faults()]
    for fault in faults:
        print(fault)
    print(f"docstrings: {len(faults)} faults", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
