"""Quantisation-aware training: fine-tune with fake quantisation, then convert to integers."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_model_optimization as tfmot

from labkit.compress import post_training
from labkit.datasets import Dataset
from labkit.models import networks, sign_cnn

#: Epochs and peak learning rate of the fine-tuning: a tenth of the baseline's rate.
EPOCHS = {"quick": 2, "full": 4}
PEAK_LEARNING_RATE = 4e-4


def quantize(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of a trained model with fake-quantisation nodes; the model itself is not changed.

    Weights are symmetric and per channel, activations affine with a running average of their
    range, both 8-bit (the default 8-bit scheme of the TensorFlow Model Optimization toolkit).
    `tfmot` modifies what it wraps, therefore the clone.

    Source: Jacob et al., CVPR 2018, section 3.
    """
    return tfmot.quantization.keras.quantize_model(networks.copy_of(model))


def fine_tune(
    model: tf.keras.Model,
    dataset: Dataset,
    profile: str = "full",
    seed: int = 0,
    *,
    epochs: int | None = None,
) -> dict[str, list[float]]:
    """Fine-tune a quantisation-aware model in place; returns loss and accuracy an epoch."""
    return sign_cnn.train(
        model,
        dataset,
        profile,
        seed,
        epochs=EPOCHS[profile] if epochs is None else epochs,
        learning_rate=PEAK_LEARNING_RATE,
    )


def convert(model: tf.keras.Model) -> bytes:
    """The TFLite file of a quantisation-aware model: int8 throughout, input and output too."""
    converter = post_training.converter_of(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return post_training.quietly(converter)
