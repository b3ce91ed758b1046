"""Errors and warnings: each says what was expected, what came, and what to do.

Errors derive from the built-in that scikit-learn's contract asks for, so ``except ValueError`` keeps working.
"""

from __future__ import annotations


class LatentmapError(Exception):
    """Base of the errors that are the fault of the data, a model or a file, never of the program."""


class DataError(LatentmapError, ValueError):
    """The data cannot be used: names the file, column or row where it is known."""


class CellError(DataError, TypeError):
    """A cell holds what is no number at all; a ``TypeError`` as well, which scikit-learn's contract asks for."""


class ModelError(LatentmapError, ValueError):
    """A saved run cannot be read, or does not fit the class that loads it."""


class PartError(LatentmapError, ValueError):
    """A part is given an impossible setting, or two parts cannot be combined."""


class NoDensityError(LatentmapError, TypeError, AttributeError):
    """A density is asked of a model that has none; names the part that lacks it and the alternative.

    It is an ``AttributeError`` as well, since scikit-learn asks with ``hasattr`` what an estimator can do.
    """


class MissingExtraError(LatentmapError, ImportError):
    """An optional dependency is not installed; gives the pip command.

    >>> str(MissingExtraError("pooch", "datasets"))
    'pooch is needed here and is not installed: pip install "latentmap[datasets]"'
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is needed here and is not installed: pip install "latentmap[{extra}]"')


class DiagnosisWarning(UserWarning):
    """Base of what a fit says about itself: what, the value, what to do."""


class PosteriorCollapseWarning(DiagnosisWarning):
    """Some or all latent components carry no information about the data."""


class UnderfitWarning(DiagnosisWarning):
    """The fit stopped while the held-out objective was still falling."""


class OverfitWarning(DiagnosisWarning):
    """The held-out objective is far above the training objective."""


class LikelihoodMismatchWarning(DiagnosisWarning):
    """The likelihood does not match the values of the data."""


class ConstantFeatureWarning(DiagnosisWarning):
    """Some features never vary, so nothing can be learned from them."""


class NumericsWarning(DiagnosisWarning):
    """Some steps were skipped because their gradient was not finite or exploded."""


class InterruptedWarning(DiagnosisWarning):
    """A fit was stopped by the user; the best weights so far were kept."""


class CompileWarning(DiagnosisWarning):
    """The compiler failed; training went on without it."""


class CaptureWarning(DiagnosisWarning):
    """The steps of a fit cannot be recorded as a CUDA graph; training went on without."""


class FewDrawsWarning(DiagnosisWarning):
    """Scores or filled cells of rows with missing cells rest on few of their weighted draws."""
