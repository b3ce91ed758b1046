"""Errors and warnings: each message states what was expected, what came, and what to do.

Errors derive from the built-in that scikit-learn's contract requires, so ``except ValueError`` keeps working.
"""

from __future__ import annotations


class LatentmapError(Exception):
    """Base of errors in the data, a model or a file, rather than in the program.

    Attributes
    ----------
    exit_code : int
        Exit code of a command that ends with it.
    """

    exit_code = 1


class DataError(LatentmapError, ValueError):
    """The data cannot be used; the message names the file, column or row where it is known."""


class CellError(DataError, TypeError):
    """A cell is not a number; also a ``TypeError``, which scikit-learn's contract requires."""


class ModelError(LatentmapError, ValueError):
    """A saved run cannot be read, or does not fit the class that loads it."""


class PartError(LatentmapError, ValueError):
    """A setting of a part is invalid, or two parts cannot be combined."""

    exit_code = 2


class NoDensityError(LatentmapError, TypeError, AttributeError):
    """A model has no density; the message names the part that lacks it and the alternative.

    Also an ``AttributeError``, since scikit-learn checks with ``hasattr`` what an estimator can do.
    """


class NotEnoughMemoryError(LatentmapError, MemoryError):
    """A fit or another call needs more memory than is free; the message says how much, and what to do."""


class NumericsError(LatentmapError, ArithmeticError):
    """A fit found no weights for which everything is finite; the message says since when, and what to do."""


class LostProcessError(LatentmapError, RuntimeError):
    """Another process of a fit on several has ended or does not answer, so that no step can be taken."""


class MissingExtraError(LatentmapError, ImportError):
    """An optional dependency is not installed; the message holds the pip command.

    Parameters
    ----------
    package : str
        The package that is missing.
    extra : str
        The extra of latentmap that installs it.

    Examples
    --------
    >>> str(MissingExtraError("pooch", "datasets"))
    'pooch is needed here and is not installed: pip install "latentmap[datasets]"'
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is needed here and is not installed: pip install "latentmap[{extra}]"')


class IgnoredColumnsWarning(UserWarning):
    """Data have columns that those of the fit did not have; they are ignored."""


class ConvertedImagesWarning(UserWarning):
    """Images have another size or other colours than those of the fit, and were converted to these; or more frames."""


class OutOfRangeWarning(UserWarning):
    """Generated dates or durations lie beyond what their type can hold, and became its ends."""


class DiagnosisWarning(UserWarning):
    """Base of warnings about a fit: what was measured, its value, what to do."""


class PosteriorCollapseWarning(DiagnosisWarning):
    """Some or all latent components hold no information about the data."""


class UnderfitWarning(DiagnosisWarning):
    """The fit stopped while the held-out objective was still falling."""


class OverfitWarning(DiagnosisWarning):
    """The held-out objective is far above the training objective."""


class LikelihoodMismatchWarning(DiagnosisWarning):
    """The likelihood does not match the values of the data."""


class ConstantFeatureWarning(DiagnosisWarning):
    """Some features never vary, so nothing can be learned from them."""


class NumericsWarning(DiagnosisWarning):
    """Some steps were skipped because their gradient was not finite, or the loss was not finite or exploded."""


class InterruptedWarning(DiagnosisWarning):
    """A fit was stopped by the user; the best weights so far were kept."""


class ResumeWarning(DiagnosisWarning):
    """A fit continues in other circumstances than those of its checkpoint, so that its last digits may differ."""


class CompileWarning(DiagnosisWarning):
    """The compiler failed; training continued without it."""


class CaptureWarning(DiagnosisWarning):
    """The steps of a fit cannot be recorded as a CUDA graph; training continued without it."""


class FewDrawsWarning(DiagnosisWarning):
    """Scores or imputed cells of rows with missing cells depend on few of their weighted draws."""
