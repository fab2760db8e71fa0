"""The engine against TensorFlow's float forward pass, and its two backends against each other.

    python benchmarks/hwce.py [--images 16] [--rounds 7]

SqueezeNet v1.1 at 227x227: real weights where `LABKIT_DATA` has squeezenet_v1.1.npz, random ones
else. All measurements alternate within one run, so that other work on the machine touches all of
them; the tables show medians of the rounds, and of each round's own ratios. `traced` is the model
as one compiled graph, `predict` is Keras's own loop.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import numpy as np

from labkit import hwce, runtime

runtime.set_seed(0)

import tensorflow as tf  # noqa: E402

from labkit.compress import fixed_point  # noqa: E402
from labkit.datasets import folders  # noqa: E402
from labkit.models import networks, weights  # noqa: E402


def squeezenet() -> tuple[tf.keras.Model, str]:
    """SqueezeNet v1.1, and which weights it has: the real ones where they are."""
    model = networks.network("squeezenet").build()
    path = folders.real() / "squeezenet_v1.1.npz"
    if not path.is_file():
        return model, "random"
    return weights.load(model, path), "real"


def photographs(count: int) -> np.ndarray:
    """Smooth random images with the mean pixel taken off, (count, 227, 227, 3)."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 12, 12, 3)).astype(np.float32)
    smooth = tf.image.resize(coarse, (227, 227), "bicubic").numpy().clip(0, 255)
    mean = networks.network("squeezenet").preprocessing.mean_pixel
    return smooth - np.array(mean, np.float32)


def seconds(work) -> np.ndarray:
    """By the clock, and of all processors together, for one call."""
    start = time.perf_counter(), time.process_time()
    work()
    return np.subtract((time.perf_counter(), time.process_time()), start)


def whole_network(count: int, rounds: int) -> None:
    """SqueezeNet on the engine, as multiples of TensorFlow's forward pass."""
    model, origin = squeezenet()
    images = photographs(count)
    forward = tf.function(lambda x: model(x, training=False), jit_compile=False)
    tensor = tf.constant(images)
    runs = {
        "TensorFlow, traced": lambda: forward(tensor).numpy(),
        "TensorFlow, predict": lambda: model.predict(images, batch_size=count, verbose=0),
    }
    ranges = fixed_point.measured_ranges(model, images)
    for preset in ("gap8", "fulmine", "ideal"):
        for bits in ((16, 16, 16), (8, 16, 16), (8, 8, 8), (4, 16, 16)):
            config = hwce.preset(preset)
            plan = ranges.plan(bits, config=config)
            name = f"{preset}, {':'.join(map(str, bits))}"
            runs[name] = lambda plan=plan: hwce.run(model, images, plan, batch=count)
    times = {name: [] for name in runs}
    saturations = {}
    for name, work in runs.items():  # trace, allocate, start threads
        report = work()
        if isinstance(report, hwce.NetworkResult):
            saturations[name] = report.totals["saturations"]
    for _ in range(rounds):
        for name, work in runs.items():
            times[name].append(seconds(work))
    print(f"\nSqueezeNet v1.1, 227x227, {origin} weights, {count} images at once, {rounds} rounds")
    print("ms per image and multiples of TensorFlow: by the clock (in processor time)")
    print(f"{'':22}{'ms':>16}{'x traced':>16}{'x predict':>16}{'saturations':>13}")
    for name, values in times.items():
        bases = [times[base] for base in list(runs)[:2]]
        columns = [1e3 * np.median(values, axis=0) / count]
        columns += [np.median(np.divide(values, base), axis=0) for base in bases]
        cells = "".join(f"{wall:8.1f} ({processor:5.1f})" for wall, processor in columns)
        print(f"{name:22}{cells}{saturations.get(name, ''):>13}")


def backends(rounds: int) -> None:
    """`blas` against `reference` on one layer, 16 to 32 channels, 3x3, 28x28."""
    random = np.random.default_rng(0)
    x = random.integers(-(2**11), 2**11, (28, 28, 16))
    w = random.integers(-(2**7), 2**7, (3, 3, 16, 32))
    print(f"\nBackends, 16 -> 32 channels, 3x3, 28x28 (3.1 million MACs), {rounds} rounds")
    print(f"{'':24}{'blas, ms':>14}{'reference, ms':>16}{'ratio':>10}")
    for preset in ("gap8", "fulmine", "ideal"):
        config = hwce.preset(preset)
        ratios, fast, slow = [], [], []
        run = partial(hwce.conv2d, x, w, None, config, qf=8, weight_bits=8)
        run()
        for _ in range(rounds):
            fast.append(min(seconds(run)[1] for _ in range(5)))
            slow.append(seconds(partial(run, backend="reference"))[1])
            ratios.append(slow[-1] / fast[-1])
        times = f"{1e3 * np.median(fast):14.2f}{1e3 * np.median(slow):16.0f}"
        print(f"{preset:24}{times}{np.median(ratios):10.0f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16, help="at once")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    whole_network(options.images, options.rounds)
    backends(min(options.rounds, 5))


if __name__ == "__main__":
    main()
