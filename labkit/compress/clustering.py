"""Weight sharing: k-means of a kernel's weights, training of the centroids, and what they cost.

Source: S. Han, H. Mao & W. J. Dally, *Deep Compression*, ICLR 2016, section 3.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from sklearn.cluster import kmeans_plusplus
from tensorflow_model_optimization.python.core.clustering.keras import (
    clustering_algorithm,
    clustering_registry,
)
from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
    cluster as sparse_clustering,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry,
)

from labkit.compress import quantization_aware
from labkit.compress.kernels import CompressionError, prunable
from labkit.models import graph

#: Where the centroids begin: evenly between the smallest and the largest weight, evenly along the
#: weights' distribution, by k-means++, or at random between the extremes.
INITIALISATIONS = ("linear", "density", "kmeans++", "random")

_TFMOT = {
    name: getattr(tfmot.clustering.keras.CentroidInitialization, constant)
    for name, constant in zip(
        INITIALISATIONS, ("LINEAR", "DENSITY_BASED", "KMEANS_PLUS_PLUS", "RANDOM"), strict=True
    )
}


def initial_centroids(
    weights: np.ndarray, count: int, initialisation: str, seed: int = 0
) -> np.ndarray:
    """Where k-means begins.

    Args:
        weights: of any shape.
        count: number of centroids, from 1 to the number of weights.
        initialisation: one of `INITIALISATIONS`.
        seed: of "kmeans++" and "random".

    Returns:
        float32 (count,), rising.

    Raises:
        ValueError: an unknown initialisation, or a number of centroids out of range.

    Source: Han et al., section 3.2; "kmeans++": Arthur & Vassilvitskii, SODA 2007.
    """
    flat = np.ravel(weights).astype(np.float64)
    if initialisation not in INITIALISATIONS:
        raise ValueError(
            f"initialisation is {initialisation!r}, expected one of {', '.join(INITIALISATIONS)}."
        )
    if not 1 <= count <= flat.size:
        raise ValueError(f"{count} centroids for {flat.size} weights, expected 1 to {flat.size}.")
    if initialisation == "linear":
        found = np.linspace(flat.min(), flat.max(), count)
    elif initialisation == "density":
        found = np.quantile(flat, (np.arange(count) + 0.5) / count)
    elif initialisation == "random":
        found = np.random.default_rng(seed).uniform(flat.min(), flat.max(), count)
    else:
        found = kmeans_plusplus(flat[:, None], count, random_state=seed)[0].ravel()
    return np.sort(found).astype(np.float32)


def nearest(weights: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Index of the centroid that is nearest to each weight, the shape of `weights`.

    Args:
        centroids: (N,), rising.
    """
    middles = (centroids[1:] + centroids[:-1]) / 2
    return np.searchsorted(middles, weights)


def share(
    weights: np.ndarray, centroids: np.ndarray, iterations: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """K-means in one dimension (Lloyd's algorithm).

    Args:
        weights: of any shape.
        centroids: (N,), rising; from `initial_centroids`.
        iterations: at most; it stops when no weight changes its cluster.

    Returns:
        the codebook, float32 (N,), and indices into it, the shape of `weights`. A cluster that
        loses all its weights keeps its centroid.

    Source: Han et al., equation 2.
    """
    centroids = np.sort(np.asarray(centroids, np.float32))
    indices = nearest(weights, centroids)
    for _ in range(iterations):
        counts = np.bincount(indices.ravel(), minlength=len(centroids))
        sums = np.bincount(indices.ravel(), np.ravel(weights), minlength=len(centroids))
        means = np.where(counts > 0, sums / np.maximum(counts, 1), centroids)
        centroids = np.sort(means).astype(np.float32)
        moved = nearest(weights, centroids)
        if np.array_equal(moved, indices):
            break
        indices = moved
    return centroids, indices


def compression_rate(count: int, clusters: int, bits: int = 32) -> float:
    """How many times smaller indices and codebook are than the weights.

    r = n·b / (n·⌈log₂ k⌉ + k·b) for n weights of b bits in k clusters.

    Source: Han et al., equation 1, with a whole number of bits per index.
    """
    index = (clusters - 1).bit_length()
    return count * bits / (count * index + clusters * bits)


def cluster(
    model: tf.keras.Model,
    clusters: int | Mapping[str, int],
    initialisation: str = "kmeans++",
    preserve_sparsity: bool = False,
) -> tf.keras.Model:
    """A copy whose kernels share weights while it is trained; the model itself is not changed.

    A kernel is then its centroids, looked up by each weight's index; the gradient of a centroid is
    the sum of its weights' gradients. Biases and normalisations are left alone.

    Args:
        model: a trained sequential or functional model; a nested one is flattened.
        clusters: of every kernel, or by name of the layer; layers not named stay as they are.
        initialisation: one of `INITIALISATIONS`.
        preserve_sparsity: zeros stay zero, as one of the clusters.

    Raises:
        ValueError: an unknown layer or initialisation, fewer than two clusters, or more than the
            layer has weights.

    Source: Han et al., section 3.3.
    """
    if initialisation not in INITIALISATIONS:
        raise ValueError(
            f"initialisation is {initialisation!r}, expected one of {', '.join(INITIALISATIONS)}."
        )
    counts = _by_layer(model, clusters)

    def wrapped(layer):
        if layer.name not in counts:
            return layer
        return sparse_clustering.cluster_weights(
            layer,
            number_of_clusters=counts[layer.name],
            cluster_centroids_init=_TFMOT[initialisation],
            preserve_sparsity=preserve_sparsity,
        )

    copy = graph.copy_of(model)
    with _fast_codebooks():
        return tf.keras.models.clone_model(copy, clone_function=wrapped)


def _by_layer(model: tf.keras.Model, clusters: int | Mapping[str, int]) -> dict[str, int]:
    kernels = prunable(model)
    if not kernels:
        raise ValueError(f"{model.name!r} has no kernel to be clustered.")
    if not isinstance(clusters, Mapping):
        clusters = dict.fromkeys(kernels, clusters)
    for name, count in clusters.items():
        if name not in kernels:
            raise ValueError(f"{name!r} has no kernel to cluster; these have: {list(kernels)}.")
        size = int(np.prod(kernels[name].shape))
        if not 2 <= count <= size:
            raise ValueError(
                f"{count} clusters for the {size} weights of {name!r}, expected 2 to {size}."
            )
    return dict(clusters)


def strip(model: tf.keras.Model) -> tf.keras.Model:
    """The plain model of one from `cluster`, every kernel made of its centroids.

    It is a clean clone: what `tfmot.clustering.keras.strip_clustering` returns shares its layers
    with the training model, and cannot be saved and loaded.
    """
    stripped = tfmot.clustering.keras.strip_clustering(model)
    plain = tf.keras.models.clone_model(stripped)
    for layer in stripped.layers:
        plain.get_layer(layer.name).set_weights(layer.get_weights())
    return plain


def cluster_preserving(
    model: tf.keras.Model,
    preserve_sparsity: bool = False,
    leave: Collection[str] = (),
    only: Collection[str] | None = None,
) -> tf.keras.Model:
    """A quantisation-aware copy whose fine-tuning keeps the clusters of each kernel (CQAT).

    Args:
        model: plain, its kernels clustered: from `strip`.
        preserve_sparsity: keep zeros at zero, too (PCQAT, of a pruned and clustered model).
        leave: names of layers that stay in floating point.
        only: names of the layers that have clusters to keep; all others are trained as by
            `quantization_aware.quantize`. Without, every kernel counts as clustered: one of few
            weights too, each of which is then a cluster of its own.

    Raises:
        CompressionError: a layer that the scheme does not know, or of `only` that there is not, by
            name.

    Example:
        >>> clustered = cluster(model, dict.fromkeys(insignificant, 16))
        >>> training.fit(clustered, data, recipe)
        >>> aware = cluster_preserving(strip(clustered), only=insignificant)

    Source: the collaborative techniques of the TensorFlow Model Optimization toolkit; `only`:
    Anirudh S, *Optimal Compression of Convolutional Neural Networks for Edge Devices* (IIT Madras,
    2022), section 3.4, clusters for insignificant layers and QAT for significant ones.
    """
    kernels = prunable(model)
    if only is not None and (unknown := sorted(set(only) - set(kernels))):
        raise CompressionError(
            f"{unknown[0]!r} has no kernel whose clusters could be kept; these have: "
            f"{', '.join(kernels)}."
        )
    scheme = tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity)
    if only is not None:
        scheme = _Selective(preserve_sparsity, frozenset(only))
    with _fast_codebooks():
        return quantization_aware.quantize(model, leave, scheme)


class _Selective(tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme):
    """tfmot's cluster-preserving scheme for some layers, and its default one for the others."""

    def __init__(self, preserve_sparsity: bool, only: frozenset[str]):
        super().__init__(preserve_sparsity)
        self._only = only

    def get_quantize_registry(self):
        registry = super().get_quantize_registry()
        preserving = registry.get_quantize_config

        def of(layer):
            if layer.name in self._only:
                return preserving(layer)
            return default_8bit_quantize_registry.Default8BitQuantizeRegistry().get_quantize_config(
                layer
            )

        registry.get_quantize_config = of
        return registry


@tf.function(jit_compile=True)
def _nearest(weight, centroids):
    return tf.argmin(tf.abs(weight[..., None] - centroids), axis=-1)


class _PerTensor(clustering_algorithm.ClusteringAlgorithm):
    """tfmot's codebook of a layer; which centroid is nearest is found in one compiled loop.

    The same numbers, bit for bit: tfmot writes every distance of 524,288 weights to 16 centroids to
    memory and reads it again, in every step.
    """

    def get_pulling_indices(self, weight, centroids=None):
        return _nearest(weight, self.cluster_centroids if centroids is None else centroids)


class _PerChannel(clustering_algorithm.ClusteringAlgorithmPerChannel):
    """tfmot's codebooks of the channels of a convolution, without its loop over the channels.

    The same numbers, bit for bit, from a graph of a tenth of the operations: thousands of them took
    seconds to trace for every model, and their share of every step. Channels come last.
    """

    def get_pulling_indices(self, weight):
        return tf.argmin(tf.abs(weight[..., None] - self.cluster_centroids), axis=-1)

    def get_clustered_weight(self, pulling_indices, original_weight):
        shape = original_weight.shape
        indices = tf.transpose(tf.reshape(pulling_indices, [-1, shape[-1]]))
        shared = tf.gather(self.cluster_centroids, indices, batch_dims=1)
        shared = tf.reshape(tf.transpose(shared), shape)
        return self.add_gradient_to_original_weight(shared, tf.identity(original_weight))


@contextlib.contextmanager
def _fast_codebooks() -> Iterator[None]:
    """tfmot takes `_PerTensor` and `_PerChannel`."""
    registry = clustering_registry
    slow = registry.ClusteringAlgorithm, registry.ClusteringAlgorithmPerChannel
    registry.ClusteringAlgorithm, registry.ClusteringAlgorithmPerChannel = _PerTensor, _PerChannel
    try:
        yield
    finally:
        registry.ClusteringAlgorithm, registry.ClusteringAlgorithmPerChannel = slow


def convert(model: tf.keras.Model) -> bytes:
    """The int8 TFLite file of a fine-tuned model from `cluster_preserving`."""
    return quantization_aware.convert(tfmot.experimental.combine.strip_clustering_cqat(model))
