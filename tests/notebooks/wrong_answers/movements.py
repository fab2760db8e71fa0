"""Wrong answers to the exercises of lab 08."""

WRONG = {
    "08_human_activity": {
        "held_out": [
            (
                "people = np.unique(groups)\n"
                "drawn = np.random.default_rng(seed).permutation(people)[: round(share * len(people))]\n"
                "return np.isin(people, drawn)",
                "one answer for each person",
            ),
            (
                "people = np.unique(groups)\n"
                "return np.random.default_rng(seed).permutation(people)[: round(share * len(people))]",
                "Those are the people",
            ),
            (
                "drawn = np.random.default_rng(seed).permutation(len(groups))\n"
                "return drawn < round(share * len(groups))",
                "draw people, not windows",
            ),
            (
                "people = np.unique(groups)\n"
                "return np.isin(groups, people[: round(share * len(people))])",
                "every seed gives the same people",
            ),
            (
                "people = np.unique(groups)\n"
                "drawn = np.random.permutation(people)[: round(share * len(people))]\n"
                "return np.isin(groups, drawn)",
                "the same seed gave other people",
            ),
            (
                "people = np.unique(groups)\n"
                "drawn = np.random.default_rng(seed).permutation(people)[: round(share * len(people))]\n"
                "return ~np.isin(groups, drawn)",
                "two of five people",
            ),
        ],
        "two_features": [
            (
                "magnitudes = np.abs(np.fft.rfft(signal))[:64]\n"
                "mean = np.sum(np.arange(64) * magnitudes) / np.sum(magnitudes)\n"
                "return np.sum(signal**2), mean * 50 / 128",
                "not their sum",
            ),
            (
                "magnitudes = np.abs(np.fft.rfft(signal))[:64]\n"
                "mean = np.sum(np.arange(64) * magnitudes) / np.sum(magnitudes)\n"
                "return np.mean(np.abs(signal)), mean * 50 / 128",
                "The squares",
            ),
            (
                "magnitudes = np.abs(np.fft.rfft(signal))[:64]\n"
                "return np.mean(signal**2), np.sum(np.arange(64) * magnitudes) / np.sum(magnitudes)",
                "number of the component",
            ),
            (
                "magnitudes = np.abs(np.fft.rfft(signal))[:64]\n"
                "mean = np.sum(np.arange(64) * magnitudes) / np.sum(magnitudes)\n"
                "return np.mean(signal**2), mean * 50 / 64",
                "2.56 s",
            ),
            (
                "magnitudes = np.abs(np.fft.rfft(signal))[:64]\n"
                "return np.mean(signal**2), np.argmax(magnitudes) * 50 / 128",
                "mean frequency, axis X",
            ),
        ],
        "parameters_of": [
            (
                'if kind == "lstm":\n    return 4 * ((inputs + outputs) * outputs + outputs)\n'
                'if kind == "separable":\n    return taps * inputs + (inputs + 1) * outputs\n'
                "return taps * inputs * outputs",
                "One bias for each filter",
            ),
            (
                'if kind == "lstm":\n    return 4 * ((inputs + outputs) * outputs + outputs)\n'
                'if kind == "separable":\n    return taps * inputs + (inputs + 1) * outputs\n'
                "return (taps * inputs + 1) * outputs * (1 if taps == 1 else 124)",
                "the length does not count",
            ),
            (
                'if kind == "lstm":\n    return 4 * (inputs * outputs + outputs)\n'
                'if kind == "separable":\n    return taps * inputs + (inputs + 1) * outputs\n'
                "return (taps * inputs + 1) * outputs",
                "last output comes in",
            ),
            (
                'if kind == "lstm":\n    return (inputs + outputs) * outputs + outputs\n'
                'if kind == "separable":\n    return taps * inputs + (inputs + 1) * outputs\n'
                "return (taps * inputs + 1) * outputs",
                "Four gates",
            ),
            (
                'if kind == "lstm":\n    return 4 * ((inputs + outputs) * outputs + outputs)\n'
                "return (taps * inputs + 1) * outputs",
                "whole convolution",
            ),
        ],
        "sharpened": [
            ("return smooth(x)", "Add what smoothing takes away"),
            ("return x + alpha * (smooth(x) - x)", "x − G x"),
            ("return alpha * (x - smooth(x))", "Add it to x"),
            ("return x + (x - smooth(x))", "alpha 0 changes nothing"),
        ],
        "seen_accuracy": [
            ("return 1 - p", "argmax takes the first class"),
            ("return (1 - p) + p**classes", "Only for the samples of the first class"),
            ("return (1 - p) + p * first", "All three have to be dropped"),
            ("return p + (1 - p) ** classes * first", "no dropout"),
            ("return (1 - p) + p**3 * first", "four classes"),
        ],
        "turned": [
            ("return (window.reshape(-1, 3, 3) @ R).reshape(window.shape)", "the other way"),
            ("return window", "Nothing turned"),
            (
                "out = np.array(window)\nout[:, :3] = window[:, :3] @ R.T\nreturn out",
                "a quarter turn",
            ),
            (
                "axes = window.reshape(-1, 3, 3).transpose(0, 2, 1)\n"
                "return (axes @ R.T).transpose(0, 2, 1).reshape(window.shape)",
                "a quarter turn",
            ),
        ],
        "separable_block": [
            (
                "layers = tf.keras.layers\n"
                "x = layers.DepthwiseConv2D((1, kernel), strides=2, padding='same')(x)\n"
                "x = layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))\n"
                "x = layers.Conv2D(width, 1)(x)\n"
                "return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))",
                "No biases",
            ),
            (
                "layers = tf.keras.layers\n"
                "x = layers.DepthwiseConv2D((1, kernel), strides=2, padding='same', use_bias=False)(x)\n"
                "x = layers.Conv2D(width, 1, use_bias=False)(x)\n"
                "return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))",
                "Behind the depthwise convolution, too",
            ),
            (
                "layers = tf.keras.layers\n"
                "x = layers.DepthwiseConv2D((1, kernel), padding='same', use_bias=False)(x)\n"
                "x = layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))\n"
                "x = layers.Conv2D(width, 1, use_bias=False)(x)\n"
                "return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))",
                "Every second place",
            ),
            (
                "layers = tf.keras.layers\n"
                "x = layers.Conv2D(width, (1, kernel), strides=2, padding='same', use_bias=False)(x)\n"
                "return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))",
                "depthwise convolutions",
            ),
            (
                "layers = tf.keras.layers\n"
                "x = layers.DepthwiseConv2D((1, kernel), strides=2, padding='same', use_bias=False)(x)\n"
                "x = layers.BatchNormalization(momentum=0.95)(layers.ReLU()(x))\n"
                "x = layers.Conv2D(width, 1, use_bias=False)(x)\n"
                "return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))",
                "outputs",
            ),
        ],
        "stopped_after": [
            (
                "whole, first = np.mean(right), np.mean(right)\n"
                "return first, (first - whole) / np.sqrt(whole * (1 - whole) / n)",
                "accuracy of all answers",
            ),
            (
                "whole, first = np.mean(right), np.mean(right[:n])\n"
                "return first, (first - whole) / np.sqrt(whole * (1 - whole) / len(right))",
                "answers that were seen",
            ),
            (
                "whole, first = np.mean(right), np.mean(right[:n])\n"
                "return first, (first - whole) / np.sqrt(first * (1 - first) / n)",
                "that of all answers",
            ),
            (
                "whole, first = np.mean(right), np.mean(right[:n])\n"
                "return first, (first - whole) / (whole * (1 - whole) / n)",
                "not a variance",
            ),
        ],
        "on_plane": [
            ("return windows[:, :, None], kernel[None]", "Of height one"),
            ("return windows[:, None], kernel", "kernels"),
            ("return windows[:, None], kernel[:, None]", "kernels"),
            ("return windows[:, None], kernel[::-1][None]", "the same sums"),
        ],
        "integer_convolution": [
            (
                "before = (taps - stride) // 2\n"
                "padded = np.pad(q.astype(np.int64), ((before, taps - stride - before), (0, 0)))\n"
                "return np.stack([np.einsum('tc,otc->o', padded[s : s + taps], weights) + bias\n"
                "                 for s in range(0, len(q), stride)])",
                "Subtract the zero point first",
            ),
            (
                "before = (taps - stride) // 2\n"
                "padded = np.pad(q.astype(np.int64), ((before, taps - stride - before), (0, 0)),\n"
                "                constant_values=zero)\n"
                "return np.stack([np.einsum('tc,otc->o', padded[s : s + taps], weights) + bias\n"
                "                 for s in range(0, len(q), stride)])",
                "by hand, zero point 1",
            ),
            (
                "after = (taps - stride) // 2\n"
                "padded = np.pad(q.astype(np.int64) - zero, ((taps - stride - after, after), (0, 0)))\n"
                "return np.stack([np.einsum('tc,otc->o', padded[s : s + taps], weights) + bias\n"
                "                 for s in range(0, len(q), stride)])",
                "one behind the last",
            ),
            (
                "before = (taps - stride) // 2\n"
                "padded = np.pad(q.astype(np.int64) - zero, ((before, taps - stride - before), (0, 0)))\n"
                "return np.stack([np.einsum('tc,otc->o', padded[s : s + taps], weights)\n"
                "                 for s in range(0, len(q), stride)])",
                "The bias",
            ),
            (
                "before = (taps - stride) // 2\n"
                "padded = np.pad(q - zero, ((before, taps - stride - before), (0, 0))).astype(np.int8)\n"
                "return np.stack([np.einsum('tc,otc->o', padded[s : s + taps], weights) + bias\n"
                "                 for s in range(0, len(q), stride)])",
                "",
            ),
        ],
        "lookahead": [
            ("return np.abs(weights)", "the magnitude alone"),
            (
                "made, read = np.linalg.norm(before, axis=0), np.linalg.norm(behind, axis=1)\n"
                "return np.abs(weights) * np.linalg.norm(made) * read",
                "*this* input",
            ),
            (
                "made, read = np.abs(before).sum(axis=0), np.abs(behind).sum(axis=1)\n"
                "return np.abs(weights) * made[:, None] * read",
                "how far the product moves",
            ),
            (
                "made, read = np.linalg.norm(before, axis=0), np.linalg.norm(behind, axis=1)\n"
                "return weights**2 * made[:, None] * read",
                "",
            ),
        ],
        "po2_or_zero": [
            ("return super().__call__(x)", "Nothing has changed"),
            (
                "return tf.where(tf.abs(x) < 2.0**-8, tf.zeros_like(x), super().__call__(x))",
                "*exactly* zero",
            ),
            (
                "return tf.where(x == 0, tf.zeros_like(x), tf.stop_gradient(super().__call__(x)))",
                "the derivative at 0.3",
            ),
            ("return tf.where(x == 0, tf.zeros_like(x), x)", "values"),
        ],
        "fcgrad": [
            ("return (first @ second).item()", "Multiply by the gradient"),
            ("return g + (first @ second).item()", "by hand"),
            ("return g * np.maximum(first, 0).sum() * second.sum()", ""),
            ("return g * np.tanh(g * first @ second).item()", ""),
        ],
        "peak_bytes": [
            ("return max(int(np.prod(shape)) for shape in shapes)", "are both there"),
            ("return sum(int(np.prod(shape)) for shape in shapes)", "for the last time"),
            (
                "sizes = [int(np.prod(shape)) for shape in shapes]\nreturn sizes[-2] + sizes[-1]",
                "your network",
            ),
            (
                "sizes = sorted(int(np.prod(shape)) for shape in shapes)\n"
                "return sizes[-1] + sizes[-2]",
                "not inputs and outputs of one layer",
            ),
        ],
        "majority": [
            ("    smooth.append(labels[i])", "Look back"),
            (
                "    last = list(labels[max(0, i - over + 1) : i + 1])\n"
                "    smooth.append(max(last, key=last.count))",
                "take the one seen last",
            ),
            (
                "    last = list(labels[max(0, i - over // 2) : i + over // 2 + 1])\n"
                "    smooth.append(max(reversed(last), key=last.count))",
                "a change comes one late",
            ),
            (
                "    last = list(labels[max(0, i - over) : i + 1])\n"
                "    smooth.append(max(reversed(last), key=last.count))",
                "",
            ),
        ],
    },
}
