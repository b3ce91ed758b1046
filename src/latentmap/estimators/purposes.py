"""The parameters of a VAE for what it is to be used for."""

from __future__ import annotations

from typing import Any, Literal, get_args

from latentmap.exceptions import PartError
from latentmap.messages import suggest
from latentmap.objectives.importance import IWAE

Purpose = Literal["map", "impute", "sample", "score"]


def purpose(name: Purpose) -> dict[str, Any]:
    """Return the parameters of a `VAE` for a purpose, as in ``VAE(**purpose("impute"))``.

    ==========  ============  ==========  ============================================================================
    purpose     components    neighbours  objective
    ==========  ============  ==========  ============================================================================
    ``map``     2             15          minus the ELBO, with the term of the neighbours
    ``sample``  by evidence   none        minus the ELBO, which lets the codes of rows fill the prior
    ``impute``  by evidence   none        minus the importance-weighted bound of 5 draws, nearer to the log-density
    ``score``   by evidence   none        as ``impute``
    ==========  ============  ==========  ============================================================================

    By evidence is ``n_components="auto"``: 2, 4, 8 or 16 components by the held-out rows of short fits.

    Parameters
    ----------
    name : {"map", "impute", "sample", "score"}
        The purpose.

    Returns
    -------
    dict of str
        Parameters by name.

    Raises
    ------
    PartError
        If there is no such purpose.

    References
    ----------
    Burda, Grosse and Salakhutdinov (2016), Importance weighted autoencoders. Mattei and Frellsen (2019), MIWAE: deep
    generative modelling and imputation of incomplete data sets.

    Examples
    --------
    >>> from latentmap import purpose
    >>> purpose("sample")
    {'n_components': 'auto', 'neighbors': None}
    """
    match name:
        case "map":
            return {"n_components": 2}
        case "sample":
            return {"n_components": "auto", "neighbors": None}
        case "impute" | "score":
            return {"n_components": "auto", "neighbors": None, "objective": IWAE(5)}
    raise PartError(f"no purpose is called {name!r}: {suggest(name, get_args(Purpose))}")
