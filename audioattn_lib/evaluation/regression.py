"""Numbers predicted from features of a clip.

The protocol is that of the ComParE challenges: features are scaled to [0, 1] by
the training clips, the complexity is chosen on the validation clips, and the
model is fitted again on both with a scaling of its own. Validation clips then
train too, so their own score is optimistic and only the test score counts.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .scores.metrics import to_array
from .statistics.correlations import of_ranks
from .statistics.intervals import numbers

__all__ = ["COMPLEXITIES", "REGRESSORS", "Regression", "RegressionFunction", "fit_regression"]

Array = NDArray[np.float64]
Regressor = Literal["linear_svr", "published_svr", "ridge", "rbf_svr"]
REGRESSORS: tuple[Regressor, ...] = ("linear_svr", "published_svr", "ridge", "rbf_svr")

COMPLEXITIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Published grid of the complexity :math:`C`, the weight of the errors against the norm of the weights."""


@dataclass(frozen=True)
class RegressionFunction:
    r"""A fitted regression as arrays, from features to numbers.

    With :math:`z = s \odot x + o`, the answer is :math:`b + \sum_i c_i \, k(v_i, z)`, with :math:`k(v, z) = v^\top z`
    where :math:`\gamma` is 0, and :math:`k(v, z) = e^{-\gamma \|v - z\|^2}` elsewhere.

    Attributes
    ----------
    scale, offset
        :math:`s` and :math:`o`, shape ``(features,)``.
    vectors, coefficients
        :math:`v` and :math:`c`, shapes ``(vectors, features)`` and ``(vectors,)``.
    intercept, gamma
        :math:`b` and :math:`\gamma`.

    Notes
    -----
    Book page: ``sleepiness``.
    """

    scale: Array
    offset: Array
    vectors: Array
    coefficients: Array
    intercept: float
    gamma: float = 0.0

    def __call__(self, features: ArrayLike) -> Array:
        """Predicted numbers ``(clips,)`` of features ``(clips, features)``."""
        z = np.asarray(features, dtype=np.float64) * self.scale + self.offset
        if not self.gamma:
            return z @ (self.coefficients @ self.vectors) + self.intercept
        distances = ((z[:, None] - self.vectors) ** 2).sum(axis=2)
        return np.exp(-self.gamma * distances) @ self.coefficients + self.intercept


@dataclass(frozen=True)
class Regression:
    """Result of a regression: model, complexity, convergence and predictions.

    Attributes
    ----------
    model
        One of ``REGRESSORS``.
    complexity
        The one chosen on the validation clips.
    validation
        Spearman's correlation on the validation clips by complexity; 0 where predictions are constant.
    converged
        Whether the solver reached its tolerance, by complexity.
    refit_converged
        The same of the final fit on training and validation clips.
    valid_predictions
        Of the validation clips by the model that was fitted on the training clips alone, shape ``(valid,)``.
    predictions
        Of the test clips, shape ``(test,)``.
    function
        The final fit.
    notes
        What a reader of the scores should know, one sentence each.
    """

    model: str
    complexity: float
    validation: dict[float, float]
    converged: dict[float, bool]
    refit_converged: bool
    valid_predictions: Array
    predictions: Array
    function: RegressionFunction
    notes: tuple[str, ...]


def fit_regression(
    train_x: ArrayLike,
    train_y: ArrayLike,
    valid_x: ArrayLike,
    valid_y: ArrayLike,
    test_x: ArrayLike,
    *,
    model: Regressor = "linear_svr",
    complexities: Sequence[float] = COMPLEXITIES,
    max_iter: int = 1000,
    seed: int = 0,
) -> Regression:
    r"""Fit on the training clips, choose the complexity on the validation clips, fit on both, predict the test clips.

    ``linear_svr`` minimises :math:`\tfrac12 \|w\|^2 + C \sum_i |y_i - w^\top x_i - b|`
    by coordinate descent; ``published_svr`` does so as liblinear is called in the
    published code, where :math:`b` is one more weight that is kept small: with
    labels far from 0 and a small C, every error then has one sign, and the weights
    follow the mean of the features in place of the labels. ``linear_svr`` takes
    the median of the labels and the means of the features away first, so that
    there is nothing to keep small. ``ridge`` has the squared error,
    :math:`\|w\|^2 + C \sum_i (y_i - w^\top x_i - b)^2`; ``rbf_svr`` is a support
    vector regression with a Gaussian kernel and a tolerance of 0.1.

    Parameters
    ----------
    train_x, valid_x, test_x
        Features, shape ``(clips, features)``.
    train_y, valid_y
        Finite numbers, shape ``(clips,)``. Leave clips without a label out.
    model
        One of ``REGRESSORS``.
    complexities
        Values of C to try, each above 0. Of equally good ones the smallest is taken.
    max_iter
        Passes over the clips at most; ``ridge`` is solved directly and needs none. The published 1000 is often
        not enough; whether it was is said in ``converged``.
    seed
        Of the order in which clips are visited.

    Raises
    ------
    ValueError
        When an argument is empty, of another shape, not finite or out of range; the message names it.

    Notes
    -----
    Scaling to [0, 1] is fitted on the training clips, and anew on training and
    validation clips for the final fit. Schuller et al., *The INTERSPEECH 2019
    computational paralinguistics challenge*, 2019. Book page: ``sleepiness``.
    """
    if model not in REGRESSORS:
        raise ValueError(f"model is {model!r}; it must be one of {', '.join(REGRESSORS)}")
    if not complexities or min(complexities) <= 0:
        raise ValueError(f"complexities is {complexities}; give at least one number, each above 0")
    if max_iter < 1:
        raise ValueError(f"max_iter is {max_iter}; it must be at least 1")
    train, valid, test = (
        _matrix(name, x) for name, x in (("train_x", train_x), ("valid_x", valid_x), ("test_x", test_x))
    )
    for name, x in (("valid_x", valid), ("test_x", test)):
        if x.shape[1] != train.shape[1]:
            raise ValueError(f"{name} has {x.shape[1]} columns and train_x {train.shape[1]}; both need the same")
    y, y_valid = numbers("train_y", train_y), numbers("valid_y", valid_y)
    for name, target, x in (("train_y", y, train), ("valid_y", y_valid, valid)):
        if len(target) != len(x):
            raise ValueError(f"{name} has {len(target)} values for {len(x)} clips; give one a clip")

    validation: dict[float, float] = {}
    converged: dict[float, bool] = {}
    outputs: dict[float, Array] = {}
    for c in sorted(complexities):
        predict, converged[c] = _fit(model, c, train, y, max_iter, seed)
        outputs[c] = predict(valid)
        validation[c] = _spearman(y_valid, outputs[c])
    best = max(validation, key=lambda c: validation[c])  # the first, so the smallest, of equals
    predict, refit = _fit(model, best, np.concatenate([train, valid]), np.concatenate([y, y_valid]), max_iter, seed)
    predictions = predict(test)
    notes = []
    late = [f"{c:g}" for c, done in converged.items() if not done]
    if late:
        notes.append(f"the solver stopped after {max_iter} passes, before it converged, for C of {', '.join(late)}")
    if not refit:
        notes.append(f"the final fit stopped after {max_iter} passes, before it converged")
    if np.ptp(predictions) == 0:
        notes.append("all test clips are predicted alike: the features told the model nothing")
    return Regression(model, best, validation, converged, refit, outputs[best], predictions, predict, tuple(notes))


def _fit(model: str, c: float, x: Array, y: Array, max_iter: int, seed: int) -> tuple[RegressionFunction, bool]:
    """Fit scaling and model; return them as arrays, and True if the solver converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import SVR, LinearSVR

    scaler = MinMaxScaler().fit(x)
    scale, offset, centre = scaler.scale_, scaler.min_, 0.0
    if model == "linear_svr":
        offset, centre = offset - (x * scale + offset).mean(axis=0), float(np.median(y))
    if model in ("linear_svr", "published_svr"):
        estimator: Any = LinearSVR(epsilon=0.0, C=c, max_iter=max_iter, random_state=seed)
    elif model == "ridge":
        estimator = Ridge(alpha=1.0 / c)
    else:
        estimator = SVR(C=c, max_iter=max_iter * len(y))  # libsvm counts single steps
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(x * scale + offset, y - centre)
    stopped = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    for warning in caught:
        if warning not in stopped:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

    intercept = centre + float(np.squeeze(estimator.intercept_))
    if model == "rbf_svr":
        vectors, coefficients = estimator.support_vectors_, estimator.dual_coef_[0]
        return RegressionFunction(scale, offset, vectors, coefficients, intercept, float(estimator._gamma)), not stopped
    return RegressionFunction(scale, offset, estimator.coef_[None], np.ones(1), intercept), not stopped


def _spearman(y: Array, p: Array) -> float:
    return float(of_ranks(y, p, np.ones((1, len(y))))[0])


def _matrix(name: str, values: ArrayLike) -> Array:
    x = to_array(name, values)
    if x.ndim != 2:
        raise ValueError(f"{name} has shape {x.shape}; it must be (clips, features)")
    return x
