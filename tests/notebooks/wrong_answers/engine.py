"""Wrong answers to the exercises of lab 10."""

CODES = (
    "codes = tf.clip_by_value(tf.floor(x / step + 0.5), -amplitude / step, amplitude / step - 1)\n"
)
FIT = "fit = lambda values, q: trainable_quantclip(values, q.msb, q.bits)\n"
CONVOLUTION = "tf.nn.conv2d(fit(x, formats.input), fit(kernel, formats.kernel), 1, 'SAME')"
TOTAL = "total = (int(y) << qf) + int(np.sum(np.asarray(pixels, np.int64) * weights))\n"
HALF = "total += 1 << (qf - 1) if half_up and qf > 0 else 0\n"

WRONG = {
    "10_progressive_quantization": {
        "fire_parameters": [
            ("return channels * squeeze + 10 * squeeze * expand", "Each filter has a bias"),
            (
                "return (channels + 1) * squeeze + (squeeze + 1 + 9 * channels + 1) * expand",
                "read the squeezed channels",
            ),
            (
                "return (channels + 1) * squeeze + (10 * squeeze + 2) * expand // 2",
                "expand counts each kind",
            ),
            ("return (squeeze + 1) * expand + (9 * squeeze + 1) * expand", ""),
        ],
        "quantclip": [
            (
                "step = 2.0 ** (msb + 1 - bits)\nlimited = np.clip(x, -(2.0**msb), 2.0**msb)\n"
                "return step * np.floor(limited / step + nearest / 2)",
                "A itself has no code",
            ),
            (
                "step, half = 2.0 ** (msb + 1 - bits), 2 ** (bits - 1)\n"
                "return step * np.clip(np.trunc(x / step + nearest / 2), -half, half - 1)",
                "np.floor, not a cut",
            ),
            (
                "step, half = 2.0 ** (msb + 1 - bits), 2 ** (bits - 1)\n"
                "return np.clip(np.floor(x / step + nearest / 2), -half, half - 1)",
                "multiply by the step",
            ),
            (
                "step, half = 2.0 ** (msb + 1 - bits), 2 ** (bits - 1)\n"
                "codes = np.round(x / step) if nearest else np.floor(x / step)\n"
                "return step * np.clip(codes, -half, half - 1)",
                "Halves are rounded upwards",
            ),
            (
                "step, half = 2.0 ** (msb + 1 - bits), 2 ** (bits - 1)\n"
                "return step * np.clip(np.floor(x / step), -half, half - 1)",
                "add half a step first",
            ),
            (
                "step, half = 2.0 ** (msb - bits), 2 ** (bits - 1)\n"
                "return step * np.clip(np.floor(x / step + nearest / 2), -half, half - 1)",
                "",
            ),
        ],
        "msb_of": [
            (
                "return int(np.floor(np.log2(np.percentile(np.abs(values), percentile)))) + 1",
                "only where it is not whole",
            ),
            (
                "return int(np.floor(np.log2(np.percentile(np.abs(values), percentile))))",
                "Round the logarithm up",
            ),
            (
                "return int(np.ceil(np.log2(abs(np.percentile(values, percentile)))))",
                "np.abs first",
            ),
            ("return int(np.ceil(np.log2(np.max(np.abs(values)))))", ""),
        ],
        "best_msb": [
            (
                "widest = msb_of(values, 100)\n"
                "errors = {msb: np.mean((quantclip(values, msb, bits, True) - values) ** 2)\n"
                "          for msb in range(widest, widest - 12, -1)}\n"
                "return max(errors, key=errors.get)",
                "largest error",
            ),
            ("return msb_of(values, 100)", "clip some, and compare errors"),
            ("return msb_of(values, 99)", ""),
            (
                "widest = msb_of(values, 100)\n"
                "errors = {msb: np.mean(np.abs(quantclip(values, msb, bits, True) - values))\n"
                "          for msb in range(widest, widest - 12, -1)}\n"
                "return min(errors, key=errors.get)",
                "",
            ),
        ],
        "corrected_bias": [
            ("return bias - step / 2 * np.mean(window_sums)", "the bias has to go up"),
            ("return bias + step * np.mean(window_sums)", "Half a step a weight"),
            ("return bias + step / 2 * np.sum(window_sums)", "not their sum"),
            ("return bias + step / 2 * window_sums", "take the mean over the windows"),
            ("return np.full_like(bias, step / 2 * np.mean(window_sums))", "add to it"),
        ],
        "trainable_quantclip": [
            ("return tf.clip_by_value(x, -amplitude, amplitude)", "add stop_gradient"),
            (
                "inside = tf.clip_by_value(x, -amplitude, amplitude)\n"
                "return inside + tf.stop_gradient(tf.floor(inside / step + 0.5) * step - inside)",
                "largest code is A / q",
            ),
            (CODES + "return tf.stop_gradient(codes * step)", "whole result is inside"),
            (CODES + "return codes * step", "floor is outside of it"),
            (
                CODES + "return x + tf.stop_gradient(codes * step - x)",
                "clip outside of stop_gradient",
            ),
            (
                CODES + "inside = tf.clip_by_value(x, -amplitude, amplitude - step)\n"
                "return inside + tf.stop_gradient(codes * step - inside)",
                "only its code is clipped",
            ),
        ],
        "quantized_convolution": [
            (
                FIT + "sums = tf.nn.conv2d(x, fit(kernel, formats.kernel), 1, 'SAME')\n"
                "return tf.nn.relu(fit(sums + bias, formats.output))",
                "inputs are quantised, too",
            ),
            (
                FIT + f"return tf.nn.relu(fit({CONVOLUTION}, formats.output) + bias)",
                "bias comes before",
            ),
            (FIT + f"return fit({CONVOLUTION} + bias, formats.output)", "ReLU is missing"),
            (
                FIT + "sums = tf.nn.conv2d(fit(x, formats.input), kernel, 1, 'SAME')\n"
                "return tf.nn.relu(fit(sums + bias, formats.output))",
                "",
            ),
            (
                FIT + "sums = tf.nn.conv2d(fit(x, formats.input),\n"
                "    tf.stop_gradient(fit(kernel, formats.kernel)), 1, 'SAME')\n"
                "return tf.nn.relu(fit(sums + bias, formats.output))",
                "",
            ),
        ],
        "phases": [
            (
                "found = [(levels[:k], levels[k:] if strategy == 'lock' else levels)\n"
                "         for k in range(len(levels))]\nreturn found + [(levels, levels)] * relax",
                "quantised already",
            ),
            (
                "found = [(levels[:k], levels) for k in range(1, len(levels) + 1)]\n"
                "return found + [(levels, levels)] * relax",
                "not trained any more",
            ),
            (
                "found = [(levels[:k], levels[k:] if strategy == 'lock' else levels[:k])\n"
                "         for k in range(1, len(levels) + 1)]\n"
                "return found + [(levels, levels)] * relax",
                "Everything is trained throughout",
            ),
            (
                "return [(levels[:k], levels[k:] if strategy == 'lock' else levels)\n"
                "        for k in range(1, len(levels) + 1)]",
                "locked or not",
            ),
        ],
        "silent": [
            ("return np.mean(np.max(outputs, axis=(0, 1, 2)) <= 0)", "In per cent"),
            ("return 100 * np.mean(outputs <= 0)", "share of zeros"),
            ("return 100 * np.mean(np.max(outputs, axis=(1, 2)) <= 0)", "In every image"),
            ("return 100 * np.mean(np.max(outputs, axis=(0, 1, 2)) < 0)", "Zero is silent, too"),
        ],
        "job": [
            (TOTAL + "return max(-32768, min(32767, total >> qf))", "before the shift"),
            (
                TOTAL + HALF + "return max(-32768, min(32767, int(total / 2**qf)))",
                "arithmetic shift",
            ),
            (TOTAL + HALF + "return total >> qf", "clip to"),
            (TOTAL + HALF + "return int(np.asarray(total >> qf).astype(np.int16))", "wrap round"),
            (
                TOTAL + "total += 1 << (qf - 1) if qf > 0 else 0\n"
                "return max(-32768, min(32767, total >> qf))",
                "",
            ),
        ],
    }
}
