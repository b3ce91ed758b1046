"""The checker of the package's shape annotations, in tests only."""

import inspect
import random
from dataclasses import is_dataclass
from functools import wraps

import numpy as np
import torch
from beartype.door import is_bearable
from jaxtyping import TypeCheckError, jaxtyped


def shape_of(value):
    """Return all that a check of a value depends on."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.shape, value.dtype
    if isinstance(value, (tuple, list)):
        return type(value), *map(shape_of, value)
    if isinstance(value, dict):
        return tuple((key, shape_of(item)) for key, item in value.items())
    return type(value)


def checked(part):
    """Check the tensors that go in and out of a function or into a dataclass, once for each combination of shapes.

    What is not a tensor is left to the function. jaxtyping's own decorator binds and checks all arguments at every
    call, which takes several times as long as what small models compute.
    """
    if inspect.isclass(part):
        if is_dataclass(part) and "__init__" in vars(part):
            part.__init__ = checked(part.__init__)
        return part
    hints = {name: hint for name, hint in part.__annotations__.items() if "Tensor, " in str(hint)}
    if not hints:
        return part
    signature, known = inspect.signature(part), set()

    @wraps(part)
    def wrapper(*args, **kwargs):
        result = part(*args, **kwargs)
        shapes = shape_of((args, kwargs, result))
        if shapes not in known:
            check(part, hints, {**signature.bind(*args, **kwargs).arguments, "return": result})
            known.add(shapes)
        return result

    return wrapper


def check(function, hints, values):
    """Raise TypeCheckError if a value has another shape than its annotation, or axes of one name have two sizes."""
    values = {name: values[name] for name in hints if name in values}
    state = random.getstate()  # beartype draws the element of a list that it looks at
    with jaxtyped("context"):
        for name, value in values.items():
            if not is_bearable(value, eval(hints[name], function.__globals__)):
                shapes = {name: shape_of(value) for name, value in values.items()}
                raise TypeCheckError(f"{function.__qualname__}: {name} is not {hints[name]} in {shapes}")
    random.setstate(state)
