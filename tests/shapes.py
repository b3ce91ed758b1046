"""The checker of the package's shape annotations, in tests only."""

from beartype import beartype


def checked(function):
    """Check the tensors that go in and out of a function; leave to it what it makes of all else."""
    hints = getattr(function, "__annotations__", {})
    shapes = {name: hint for name, hint in hints.items() if "Tensor, " in str(hint)}
    if not shapes:
        return function
    function.__annotations__ = shapes
    return beartype(function)
