"""Labels that a model infers for rows without, as a classifier of scikit-learn's gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentmap.estimators.attributes import Fitted
from latentmap.estimators.state import FloatArray
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.scaling import Affine


def _infers_labels(estimator: Any) -> bool:
    """Whether the model infers labels; raises what explains that it does not."""
    check_is_fitted(estimator)
    if not estimator.model_.sizes.some_labels:
        raise AttributeError("only VAE(condition='labels') predicts, fitted with some labels missing")
    return True


Method = TypeVar("Method", bound=Callable[..., Any])
_where_inferred: Callable[[Method], Method] = available_if(_infers_labels)


class InfersLabels(Fitted):
    """`predict` and `predict_proba`, for models that were fitted with some labels missing."""

    @_where_inferred
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely class of each row, for a model that was fitted with some labels missing.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.

        Returns
        -------
        ndarray of shape (n,)
            Classes.
        """
        classes: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return classes

    @_where_inferred
    def predict_proba(self, X: Any) -> FloatArray:
        """Return q(c|x) of each class in ``classes_``, for a model that was fitted with some labels missing.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.

        Returns
        -------
        ndarray of shape (n, C)
            Probabilities.
        """

        def classify(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            return model.classify(scaling(x)).exp()

        return self._map(self._rows(X, None)[0], classify)
