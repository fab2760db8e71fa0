"""Human activity from features: the classifiers that a network on raw windows has to beat.

Linear models, with PCA or LDA in front or without, as Keras networks, so that they become files and
are measured like all others; a forest, with the bytes of its tables; and divide and conquer, a
decision tree and two CNNs, with the sharpening of its test data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from labkit.datasets import Dataset
from labkit.errors import LabkitError

FEATURES = 561
#: The first three of the six activities are dynamic: walking, up, down; then sitting, standing,
#: lying.
DYNAMIC = 3

_L = tf.keras.layers


class FeatureError(LabkitError):
    """A pipeline that is no chain of linear maps, or samples that do not fit."""


def linear(
    data: Dataset,
    reduction: str | None = None,
    components: int = 32,
    shrinkage: bool = True,
    tolerance: float = 1e-4,
) -> Pipeline:
    """Logistic regression on features, trained.

    Args:
        data: features (N, features).
        reduction: "pca", "lda", or None for all features.
        components: of the PCA; an LDA has one less than there are classes.
        shrinkage: of the LDA's covariance (Ledoit and Wolf's). Features that say nearly the same
            get huge weights of opposite signs without, which eight bits cannot hold.
        tolerance: largest component of the gradient at which the logistic regression is trained.

    Raises:
        FeatureError: another reduction.
    """
    shrunk = {"solver": "eigen", "shrinkage": "auto"} if shrinkage else {}
    reductions = {
        None: [],
        "pca": [PCA(components, random_state=0)],
        "lda": [LinearDiscriminantAnalysis(**shrunk)],
    }
    if reduction not in reductions:
        raise FeatureError(f"reduction is {reduction!r}, expected 'pca', 'lda' or None.")
    last = LogisticRegression(tol=tolerance, max_iter=2000)
    return make_pipeline(StandardScaler(), *reductions[reduction], last).fit(
        data.x_train, data.y_train
    )


def to_keras(pipeline: Pipeline) -> tf.keras.Model:
    """The dense layers that compute what a fitted chain of linear maps computes.

    Scaling and the map behind it are one layer: W' = W / σ, b' = b - W μ / σ; so a logistic
    regression on 561 features is 561 · 6 + 6 = 3,372 parameters, and behind a PCA of k components
    there are (561 + 1) k + (k + 1) 6.

    Args:
        pipeline: fitted, of StandardScaler, PCA, LinearDiscriminantAnalysis and at the end a
            LogisticRegression; without it, what comes out is the reduction.

    Raises:
        FeatureError: another step.
    """
    maps: list[tuple[np.ndarray, np.ndarray, str]] = []
    scale, mean = np.ones(pipeline.n_features_in_), np.zeros(pipeline.n_features_in_)
    for name, step in pipeline.steps:
        if isinstance(step, StandardScaler):
            mean, scale = mean + step.mean_ * scale, scale * step.scale_
            continue
        weights, bias, activation = _affine(step, name)
        weights = weights / scale[:, None]
        maps.append((weights, bias - mean @ weights, activation))
        scale, mean = np.ones(weights.shape[1]), np.zeros(weights.shape[1])
    inputs = x = tf.keras.Input((pipeline.n_features_in_,), name="features")
    for i, (weights, bias, activation) in enumerate(maps, start=1):
        layer = _L.Dense(len(bias), activation=activation, name=f"linear{i}")
        x = layer(x)
        layer.set_weights([weights, bias])
    return tf.keras.Model(inputs, x, name="har_linear")


def _affine(step, name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Weights (in, out), bias and activation of a fitted step."""
    if isinstance(step, PCA):
        factor = 1 / np.sqrt(step.explained_variance_) if step.whiten else 1.0
        weights = step.components_.T * factor
        return weights, -step.mean_ @ weights, "linear"
    if isinstance(step, LinearDiscriminantAnalysis):
        weights = step.scalings_[:, : step._max_components]
        centre = step.xbar_ if step.solver == "svd" else np.zeros(len(weights))
        return weights, -centre @ weights, "linear"
    if isinstance(step, LogisticRegression):
        return step.coef_.T, step.intercept_, "softmax"
    raise FeatureError(
        f"the step {name!r} is a {type(step).__name__}, which is no linear map: scaler, PCA, LDA "
        "and logistic regression are."
    )


def forest(data: Dataset, trees: int = 50, depth: int | None = None) -> RandomForestClassifier:
    """A random forest on features, trained."""
    model = RandomForestClassifier(trees, max_depth=depth, random_state=0, n_jobs=1)
    return model.fit(data.x_train, data.y_train)


def forest_bytes(model: RandomForestClassifier | DecisionTreeClassifier) -> int:
    """Bytes of the tables of a forest or a tree whose thresholds are int8.

    A node that decides has a feature (2 bytes), a threshold (1) and the place of its second child
    (2), the first one following it; a leaf has its class (1 byte).
    """
    trees = getattr(model, "estimators_", [model])
    leaves = sum(tree.get_n_leaves() for tree in trees)
    nodes = sum(tree.tree_.node_count for tree in trees)
    return int(5 * (nodes - leaves) + leaves)


def feature_cnn(length: int = FEATURES) -> tf.keras.Model:
    """A small CNN along features, or along the components of a PCA or LDA.

    Args:
        length: features, the input being (N, length).
    """
    return tf.keras.Sequential(
        [
            _L.Input((length,), name="features"),
            _L.Reshape((length, 1), name="line"),
            _L.Conv1D(16, 3, padding="same", activation="relu", name="conv1"),
            _L.Conv1D(16, 3, padding="same", activation="relu", name="conv2"),
            _L.Flatten(name="flatten"),
            _L.Dense(6, activation="softmax", name="activity"),
        ],
        name=f"har_feature_cnn_{length}",
    )


def static_cnn(after_softmax: bool = True) -> tf.keras.Model:
    """The CNN that tells sitting, standing and lying apart: 186,273 parameters.

    Args:
        after_softmax: half of the probabilities are dropped, as in the published code; else half of
            what is flattened.

    Source: H. Cho & S. M. Yoon, Sensors 18:1055 (2018), figure 11, and the code beside it.
    """
    return _feature_network("har_static", (30, 50, 100), 1, after_softmax)


def dynamic_cnn(after_softmax: bool = True) -> tf.keras.Model:
    """The CNN that tells walking, up and down apart: 56,203 parameters; as `static_cnn` otherwise.

    Source: likewise, figure 10.
    """
    return _feature_network("har_dynamic", (100,), 3, after_softmax)


def _feature_network(
    name: str, filters: Sequence[int], pool: int, after_softmax: bool
) -> tf.keras.Model:
    drop = _L.Dropout(0.5, name="drop")
    return tf.keras.Sequential(
        [
            _L.Input((FEATURES, 1), name="features"),
            *(
                _L.Conv1D(count, 3, activation="relu", name=f"conv{i}")
                for i, count in enumerate(filters, start=1)
            ),
            *([_L.MaxPooling1D(pool, name="pool")] if pool > 1 else []),
            _L.Flatten(name="flatten"),
            *([] if after_softmax else [drop]),
            _L.Dense(3, activation="softmax", name="activity"),
            *([drop] if after_softmax else []),
        ],
        name=name,
    )


@dataclass
class DivideAndConquer:
    """A decision tree for static or dynamic, and a CNN for each of the two.

    Attributes:
        depth: of the tree.
        tree: fitted by `fit`.
        static, dynamic: functions of features (N, 561, 1) to probabilities (N, 3): Keras models'
            `predict`, or `measure.TFLiteModel(...).predict`.

    Source: H. Cho & S. M. Yoon, Sensors 18:1055 (2018).
    """

    static: Callable[[np.ndarray], np.ndarray]
    dynamic: Callable[[np.ndarray], np.ndarray]
    depth: int = 3
    tree: DecisionTreeClassifier = field(init=False)

    def fit(self, data: Dataset) -> DivideAndConquer:
        """Fit the tree; the networks are trained by themselves, on `part` of the data."""
        self.tree = DecisionTreeClassifier(max_depth=self.depth, random_state=0)
        self.tree.fit(data.x_train, data.y_train < DYNAMIC)
        return self

    def predict(
        self, x: np.ndarray, sharpened: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """Classes, int64 (N,).

        Args:
            x: features (N, 561).
            sharpened: what the static and what the dynamic network is shown instead.
        """
        dynamic = self.tree.predict(x).astype(bool)
        for_static, for_dynamic = (x, x) if sharpened is None else sharpened
        classes = np.empty(len(x), np.int64)
        for chosen, shown, network, first in (
            (~dynamic, for_static, self.static, DYNAMIC),
            (dynamic, for_dynamic, self.dynamic, 0),
        ):
            if chosen.any():
                classes[chosen] = np.argmax(network(shown[chosen, :, None]), axis=1) + first
        return classes


def part(data: Dataset, dynamic: bool) -> Dataset:
    """The static or the dynamic samples, as the CNN for them takes them.

    Returns:
        x (N, 561, 1), y from 0 to 2.
    """
    arrays = {}
    for side in ("train", "test"):
        y = getattr(data, f"y_{side}")
        chosen = (y < DYNAMIC) == dynamic
        arrays[f"x_{side}"] = getattr(data, f"x_{side}")[chosen, :, None]
        arrays[f"y_{side}"] = y[chosen] - (0 if dynamic else DYNAMIC)
        groups = getattr(data, f"groups_{side}")
        arrays[f"groups_{side}"] = None if groups is None else groups[chosen]
    names = data.class_names[:DYNAMIC] if dynamic else data.class_names[DYNAMIC:]
    return replace(data, class_names=names, **arrays)


def sharpen(x: np.ndarray, sigma: float, alpha: float) -> np.ndarray:
    """Features sharpened along their index: x + α (x - G_σ x).

    The index is no time axis: neighbours are features that happen to be listed side by side.

    Args:
        x: float (N, features) or (N, features, 1).
        sigma: of the Gaussian, in features.
        alpha: how much of what it takes away is added.

    Source: H. Cho & S. M. Yoon, Sensors 18:1055 (2018), section 3.3.
    """
    return x + alpha * (x - ndimage.gaussian_filter1d(x, sigma, axis=1))


def sharpening(
    predict: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    chosen_on: np.ndarray,
    sigmas: Sequence[float] = (1, 3, 5, 7, 9),
    alphas: Sequence[float] = (0.0, 0.05, 0.1, 0.2, 0.3),
) -> pd.DataFrame:
    """Accuracy over σ and α, on the half to choose on and on the half to report.

    Args:
        predict: features, as x is, to probabilities.
        x, y: the test samples.
        chosen_on: bool (N,), the half to choose on, for example `halves(groups)`.

    Returns:
        a row for each pair: "sigma", "alpha", "chosen on (%)", "reported on (%)"; the best of the
        first column is the one to report. `pivot(index="alpha", columns="sigma", values=...)` makes
        a heat map of it.
    """
    rows = []
    for sigma in sigmas:
        for alpha in alphas:
            right = np.argmax(predict(sharpen(x, sigma, alpha)), axis=1) == y
            rows.append((sigma, alpha, right[chosen_on].mean(), right[~chosen_on].mean()))
    table = pd.DataFrame(rows, columns=["sigma", "alpha", "chosen on (%)", "reported on (%)"])
    table.iloc[:, 2:] *= 100
    return table


def halves(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which samples belong to the first half of the subjects, bool (N,)."""
    people = np.random.default_rng(seed).permutation(np.unique(groups))
    return np.isin(groups, people[: len(people) // 2])
