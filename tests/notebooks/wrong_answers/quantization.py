"""Wrong answers to the exercises of labs 00 to 04."""

WRONG = {
    "00_start_here": {
        "top1_accuracy": [
            ("return float(np.mean(np.argmax(probabilities, axis=0) == labels))", "axis=1"),
            ("return int(np.sum(np.argmax(probabilities, axis=1) == labels))", "number of right"),
            ("return 100 * float(np.mean(np.argmax(probabilities, axis=1) == labels))", "fraction"),
            (
                "return float(np.mean(np.argmax(probabilities, axis=1) != labels))",
                "share of the wrong",
            ),
            (
                "right = np.argmax(probabilities, axis=1) == labels\n"
                "return float(right.sum() / probabilities.size)",
                "number of entries",
            ),
        ],
        "weight_bytes": [
            ("return parameters * bits", "Those are bits"),
            ("return parameters * bits // 8", "round up"),
            ("return parameters * bits / 8", "no half byte"),
        ],
    },
    "01_baseline": {
        "class_index": [
            ("return labels", "hole is still there"),
            ("return labels - 1", "Only the labels above"),
            ("return labels - (labels >= 8)", ""),
        ],
        "convolution_cost": [
            (
                "n = kernel**2 * channels_in * channels_out\nreturn n, n * output_size**2",
                "bias is missing",
            ),
            (
                "n = kernel**2 * channels_in * channels_out\n"
                "return n + channels_out, (n + channels_out) * output_size**2",
                "MACs come from",
            ),
            (
                "n = kernel**2 * channels_in * channels_out\nreturn n + channels_out, n * output_size",
                "pixels",
            ),
            (
                "n = kernel**2 * channels_in * channels_out\nreturn n + 1, n * output_size**2",
                "one bias for every",
            ),
            (
                "n = kernel**2 * channels_in * channels_out\nreturn n + channels_out, n",
                "single output pixel",
            ),
            (
                "n = kernel * channels_in * channels_out\n"
                "return n + channels_out, n * output_size**2",
                "kernel² weights",
            ),
        ],
        "fold_batch_norm": [
            (
                "f = gamma / (variance + epsilon)\nreturn w * f, (b - mean) * f + beta",
                "square root",
            ),
            (
                "f = gamma / np.sqrt(variance + epsilon)\nreturn w * f, b * f + beta",
                "mean is missing",
            ),
            (
                "f = gamma / np.sqrt(variance + epsilon)\nreturn w * f, (b + mean) * f + beta",
                "subtracted, not added",
            ),
            ("f = gamma / np.sqrt(variance)\nreturn w * f, (b - mean) * f + beta", ""),
            (
                "f = gamma / np.sqrt(variance + epsilon)\nreturn w * f, b * f - mean + beta",
                "before",
            ),
        ],
        "build_network": [
            (
                """
                i = layers.Input((28, 28, 1))
                x = layers.BatchNormalization()(layers.Conv2D(8, 3, activation="relu")(i))
                x = layers.MaxPooling2D(4)(x)
                return tf.keras.Model(i, layers.Dense(24, "softmax")(layers.Flatten()(x)))
                """,
                "immediately before",
            ),
            (
                """
                i = layers.Input((28, 28, 1))
                return tf.keras.Model(i, layers.Dense(26, "softmax")(layers.Flatten()(i)))
                """,
                "J and Z",
            ),
            (
                """
                i = layers.Input((28, 28, 1))
                return tf.keras.Model(i, layers.Dense(25, "softmax")(layers.Flatten()(i)))
                """,
                "0 … 23",
            ),
            (
                """
                i = layers.Input((28, 28, 1))
                return tf.keras.Model(i, layers.Dense(24)(layers.Flatten()(i)))
                """,
                "do not add up to one",
            ),
            (
                """
                i = layers.Input((28, 28, 1))
                x = layers.Dense(100)(layers.Flatten()(i))
                return tf.keras.Model(i, layers.Dense(24, "softmax")(x))
                """,
                "fewer filters",
            ),
            (
                """
                i = layers.Input((28, 28, 1))
                x = layers.Lambda(lambda v: 2 * v)(layers.Flatten()(i))
                return tf.keras.Model(i, layers.Dense(24, "softmax")(x))
                """,
                "customised layer",
            ),
        ],
    },
    "02_dynamic_range": {
        "quantize_symmetric": [
            (
                "s = np.abs(w).max() / 128\nreturn np.round(w / s).astype(np.int8), s",
                "127, not 128",
            ),
            ("s = w.max() / 127\nreturn np.round(w / s).astype(np.int8), s", "magnitude"),
            ("s = np.abs(w).max() / 127\nreturn (w / s).astype(np.int8), s", "Round"),
            ("s = np.abs(w).max() / 127\nreturn np.round(w / s), s", "codes are bytes"),
            ("s = (w.max() - w.min()) / 255\nreturn np.round(w / s).astype(np.int8), s", ""),
            (
                "s = np.abs(w).max() / 255\nreturn np.round(w / s).astype(np.int8), s",
                "half as wide",
            ),
        ],
        "quantize_per_channel": [
            (
                "s = np.abs(w).max() / 127\n"
                "return np.round(w / s).astype(np.int8), np.full((1, 2), s)",
                "share a scale",
            ),
            (
                "o = tuple(a for a in range(w.ndim) if a != axis % w.ndim)\n"
                "s = np.abs(w).max(axis=o, keepdims=True)\n"
                "return np.round(w / s * 127).astype(np.int8), s",
                "127 steps",
            ),
            (
                "o = tuple(a for a in range(w.ndim) if a != axis % w.ndim)\n"
                "s = np.abs(w).max(axis=o, keepdims=True) / 127\n"
                "return np.round(w / s).astype(np.int8), s.ravel()",
                "Keep the dimensions",
            ),
            (
                "o = tuple(a for a in range(w.ndim) if a != axis % w.ndim)\n"
                "s = np.abs(w).max(axis=o, keepdims=True) / 128\n"
                "return np.round(w / s).astype(int).astype(np.int8), s",
                "end at 127",
            ),
            (
                "o = tuple(a for a in range(w.ndim) if a != axis % w.ndim)\n"
                "s = w.max(axis=o, keepdims=True) / 127\n"
                "return np.clip(np.round(w / s), -127, 127).astype(np.int8), s",
                "",
            ),
            (
                "s = np.abs(w).max(axis=axis, keepdims=True) / 127\n"
                "return np.round(w / s).astype(np.int8), s",
                "",
            ),
        ],
        "quantize_asymmetric": [
            (
                "s = np.abs(x).max() / 127\nreturn np.round(x / s).astype(np.int8), float(s), 0",
                "symmetric scale",
            ),
            (
                "l, h = x.min(), x.max()\ns = (h - l) / 255\nz = round(float(-128 - l / s))\n"
                "return np.clip(np.round(x / s) + z, -128, 127).astype(np.int8), float(s), z",
                "widen",
            ),
            (
                "l, h = min(x.min(), 0), max(x.max(), 0)\ns = (h - l) / 255\nz = round(float(-l / s))\n"
                "return np.clip(np.round(x / s) + z, 0, 255).astype(np.int8), float(s), z",
                "0 … 255",
            ),
            (
                "l, h = min(x.min(), 0), max(x.max(), 0)\ns = (h - l) / 255\nz = -128 - l / s\n"
                "return np.clip(np.round(x / s + z), -128, 127).astype(np.int8), float(s), z",
                "round it",
            ),
            (
                "l, h = min(x.min(), 0), max(x.max(), 0)\ns = (h - l) / 255\n"
                "z = round(float(-128 - l / s))\n"
                "return np.round(x / s).astype(np.int8), float(s), z",
                "Add the zero point",
            ),
            (
                "l, h = min(x.min(), 0), max(x.max(), 0)\ns = (h - l) / 255\n"
                "z = round(float(-128 - l / s))\n"
                "return np.clip(np.round(x / s) - z, -128, 127).astype(np.int8), float(s), z",
                "not subtracted",
            ),
            (
                "l, h = min(x.min(), 0), max(x.max(), 0)\ns = (h - l) / 256\n"
                "z = round(float(-128 - l / s))\n"
                "return np.clip(np.round(x / s) + z, -128, 127).astype(np.int8), float(s), z",
                "255 steps between",
            ),
            (
                "l, h = min(x.min(), 0), max(x.max(), 0)\ns = (h - l) / 255\n"
                "z = round(float(-128 + l / s))\n"
                "return np.clip(np.round(x / s) + z, -128, 127).astype(np.int8), float(s), z",
                "The sign",
            ),
        ],
        "dynamic_range_matmul": [
            (
                "q, s, z = quantize_asymmetric(x)\n"
                "return s * w_scale * ((q.astype(int) - z) @ w_codes.astype(int))",
                "Each row needs its own",
            ),
            (
                "r = [quantize_asymmetric(row) for row in x]\n"
                "return np.array([s * w_scale * (q.astype(int) @ w_codes.astype(int)) "
                "for q, s, z in r])",
                "q − Z, not q",
            ),
            (
                "r = [quantize_asymmetric(row) for row in x]\n"
                "return np.array([s * w_scale * ((q - np.int8(z)) @ w_codes) for q, s, z in r])",
                "overflowed",
            ),
            (
                "r = [quantize_asymmetric(row) for row in x]\n"
                "return np.array([(q.astype(int) - z) @ w_codes.astype(int) for q, s, z in r])",
                "integer sum",
            ),
            (
                "r = [quantize_asymmetric(row) for row in x]\n"
                "return np.array([s * ((q.astype(int) - z) @ w_codes.astype(int)) for q, s, z in r])",
                "scale of w",
            ),
            (
                "r = [quantize_symmetric(row) for row in x]\n"
                "return np.array([s * w_scale * (q.astype(int) @ w_codes.astype(int)) "
                "for q, s in r])",
                "symmetric x",
            ),
            ("return x @ (w_scale * w_codes)", "float product"),
            (
                "r = [quantize_asymmetric(row) for row in x]\n"
                "return np.array([w_scale * ((q.astype(int) - z) @ w_codes.astype(int)) "
                "for q, s, z in r])",
                "scale of x",
            ),
        ],
        "convert_dynamic_range": [
            ("return tf.lite.TFLiteConverter.from_keras_model(model).convert()", "optimizations"),
            ("return post_training.convert(model, 'float16')", "8-bit weights"),
            (
                "return post_training.convert(model, 'int8', data.representative(20))",
                "float activations",
            ),
        ],
    },
    "03_int16x8": {
        "calibrate_range": [
            (
                "for batch in batches:\n    low, high = float(np.min(batch)), float(np.max(batch))\n"
                "return low, high",
                "Only the last",
            ),
            (
                "b = [np.ravel(batch) for batch in batches]\n"
                "return min(map(np.min, b)), max(map(np.max, b))",
                "contain zero",
            ),
            (
                "b = list(batches)\nreturn float(np.mean([x.min() for x in b])), "
                "float(np.mean([x.max() for x in b]))",
                "extremes",
            ),
        ],
        "activation_steps": [
            ("return (high - low) / 256, max(abs(low), abs(high)) / 32768", "Steps lie between"),
            ("return (high - low) / 255, max(abs(low), abs(high)) / 65535", "symmetric"),
            ("return max(abs(low), abs(high)) / 127, max(abs(low), abs(high)) / 32767", "affine"),
            ("return (high - low) / 255, high / 32767", "larger *magnitude*"),
            ("return (high - low) / 255, (high - low) / 32767", "from zero to the larger"),
            ("return high / 255, max(abs(low), abs(high)) / 32767", "there are 3"),
        ],
        "accumulator_bits": [
            (
                "n = terms * 2 ** (activation_bits - 1) * 2 ** (weight_bits - 1)\n"
                "return int(np.ceil(np.log2(n))) + 1",
                "exactly 2^31",
            ),
            (
                "n = terms * 2 ** (activation_bits - 1) * (2 ** (weight_bits - 1) - narrow)\n"
                "return int(np.ceil(np.log2(n))) + 1",
                "no 15-bit number",
            ),
            (
                "n = terms * 2 ** (activation_bits - 1) * (2 ** (weight_bits - 1) - narrow)\n"
                "return round(np.log2(n)) + 1",
                "a logarithm rounds",
            ),
            (
                "n = terms * 2 ** (activation_bits - 1) * (2 ** (weight_bits - 1) - narrow)\n"
                "return int(n).bit_length()",
                "sign",
            ),
            (
                "n = terms * 2 ** (activation_bits - 1) * 2 ** (weight_bits - 1)\n"
                "return int(n).bit_length() + 1",
                "Narrow weights",
            ),
            (
                "n = terms * 2**activation_bits * 2**weight_bits\nreturn int(n).bit_length() + 1",
                "reaches",
            ),
        ],
        "quantize_bias": [
            ("return np.round(bias / s_w).astype(np.int32)", "both scales"),
            ("return np.round(bias / s_x).astype(np.int32)", "both scales"),
            ("return np.round(bias / (s_x * s_w)).astype(np.int8)", "wraps round"),
            ("return np.clip(np.round(bias / (s_x * s_w)), -128, 127).astype(np.int32)", "clip"),
            ("return np.floor(bias / (s_x * s_w)).astype(np.int32)", "nearest"),
            (
                "s = np.abs(bias).max() / 127\nreturn np.round(bias / s).astype(np.int32)",
                "of its own",
            ),
        ],
        "integer_dense": [
            (
                "s = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32) + q_b\n"
                "c = np.round(factor * s) + zero_y\n"
                "return np.clip(c, -128, 127).astype(np.int8)",
                "Nothing was cut off",
            ),
            (
                "s = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32) + q_b\n"
                "c = np.round(factor * s) + zero_y\n"
                "return np.clip(c, 0 if relu else -128, 127).astype(np.int8)",
                "not 0",
            ),
            (
                "s = q_x.astype(np.int32) @ q_w.astype(np.int32) + q_b\n"
                "c = np.round(factor * s) + zero_y\n"
                "return np.clip(c, zero_y if relu else -128, 127).astype(np.int8)",
                "Subtract the zero point of the input",
            ),
            (
                "s = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32) + q_b\n"
                "return np.clip(np.round(factor * s), 0 if relu else -128, 127).astype(np.int8)",
                "zero point of the output",
            ),
            (
                "s = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32) + q_b\n"
                "c = (np.round(factor * s) + zero_y).astype(int)\n"
                "return (np.maximum(c, zero_y) if relu else c).astype(np.int8)",
                "before the cast",
            ),
            (
                "s = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32)\n"
                "c = np.round(factor * s) + zero_y\n"
                "return np.clip(c, zero_y if relu else -128, 127).astype(np.int8)",
                "bias is missing",
            ),
            (
                "s = (q_x.astype(np.int32) - zero_x) @ q_w.astype(np.int32) + q_b\n"
                "c = np.floor(factor * s) + zero_y\n"
                "return np.clip(c, zero_y if relu else -128, 127).astype(np.int8)",
                "Round",
            ),
            (
                "s = (q_x - np.int8(zero_x)) @ q_w + q_b\n"
                "c = np.round(factor * s) + zero_y\n"
                "return np.clip(c, zero_y if relu else -128, 127).astype(np.int8)",
                "",
            ),
        ],
        "representative_dataset": [
            (
                "def generate():\n    for image in images:\n"
                "        yield [np.zeros_like(image[None], np.float32)]\nreturn generate",
                "zeros",
            ),
            (
                "def generate():\n    for image in images:\n"
                "        yield [255 * image[None].astype(np.float32)]\nreturn generate",
                "0 to 1",
            ),
            (
                "def generate():\n    yield [images.astype(np.float32)]\nreturn generate",
                "one image",
            ),
            (
                "def generate():\n    for image in images:\n"
                "        yield image[None].astype(np.float32)\nreturn generate",
                "",
            ),
            (
                "def generate():\n    for image in images:\n"
                "        yield [images[:1].astype(np.float32)]\nreturn generate",
                "five times",
            ),
            (
                "def generate():\n    for image in images[::-1]:\n"
                "        yield [image[None].astype(np.float32)]\nreturn generate",
                "in the order",
            ),
            (
                "def generate():\n    for image in images:\n"
                "        yield [image[None].astype(np.float32)]\nreturn generate()",
                "function itself",
            ),
        ],
        "convert_int8": [
            (
                "converter.optimizations = [tf.lite.Optimize.DEFAULT]\n"
                "converter.representative_dataset = representative_dataset(images)\n"
                "return converter.convert()",
                "inference_input_type",
            ),
            (
                "converter.optimizations = [tf.lite.Optimize.DEFAULT]\nreturn converter.convert()",
                "int8 activations",
            ),
            (
                "converter.optimizations = [tf.lite.Optimize.DEFAULT]\n"
                "converter.representative_dataset = representative_dataset(0.5 * images)\n"
                "converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]\n"
                "converter.inference_input_type = converter.inference_output_type = tf.int8\n"
                "return converter.convert()",
                "handed on",
            ),
        ],
        "convert_int16x8": [
            (
                "converter.optimizations = [tf.lite.Optimize.DEFAULT]\n"
                "converter.representative_dataset = representative_dataset(images)\n"
                "return converter.convert()",
                "supported_ops",
            ),
            ("return converter.convert()", "optimizations"),
            (
                "converter.optimizations = [tf.lite.Optimize.DEFAULT]\n"
                "converter.representative_dataset = representative_dataset(2 * images)\n"
                "converter.target_spec.supported_ops = [tf.lite.OpsSet."
                "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]\n"
                "return converter.convert()",
                "handed on",
            ),
        ],
    },
    "04_quantization_aware": {
        "affine_parameters": [
            (
                "scale = (high - low) / 255\n"
                "return scale, int(np.clip(round(-128 - low / scale), -128, 127))",
                "widen",
            ),
            (
                "low, high = min(low, 0.0), max(high, 0.0)\nscale = (high - low) / 256\n"
                "return scale, int(np.clip(round(-128 - low / scale), -128, 127))",
                "255 steps",
            ),
            (
                "low, high = min(low, 0.0), max(high, 0.0)\nscale = (high - low) / 255\n"
                "return scale, round(-low / scale)",
                "unsigned",
            ),
            (
                "low, high = min(low, 0.0), max(high, 0.0)\nscale = (high - low) / 255\n"
                "return scale, -128 - low / scale",
                "round it",
            ),
            (
                "low, high = min(low, 0.0), max(high, 0.0)\nscale = (high - low) / 255\n"
                "return scale, int(np.clip(round(-128 + low / scale), -128, 127))",
                "The sign",
            ),
        ],
        "fake_quantize": [
            ("return scale * np.round(x / scale)", "clipped"),
            (
                "codes = np.minimum(np.round(x / scale) + zero_point, 127)\n"
                "return scale * (codes - zero_point)",
                "below",
            ),
            ("return np.clip(np.round(x / scale) + zero_point, -128, 127)", "codes"),
            ("return scale * np.clip(np.round(x / scale), -128, 127)", "zero point added"),
            (
                "codes = np.clip(np.trunc(x / scale) + zero_point, -128, 127)\n"
                "return scale * (codes - zero_point)",
                "nearest",
            ),
            ("return scale * np.clip(np.round(x / scale) + zero_point, -128, 127)", "Subtract"),
            (
                "codes = np.clip(np.round(x / scale) + zero_point, -127, 127)\n"
                "return scale * (codes - zero_point)",
                "lowest code",
            ),
        ],
        "straight_through": [
            (
                "return scale * tf.round(tf.clip_by_value(x, scale * low, scale * high) / scale)",
                "would learn",
            ),
            ("return tf.clip_by_value(x, scale * low, scale * high)", "staircase"),
            (
                "c = tf.clip_by_value(x, scale * low, scale * high)\n"
                "return x + tf.stop_gradient(scale * tf.round(c / scale) - x)",
                "derivative is 0",
            ),
            (
                "c = tf.minimum(x, scale * high)\n"
                "return c + tf.stop_gradient(scale * tf.round(c / scale) - c)",
                "below",
            ),
            (
                "c = tf.clip_by_value(x, -128 * scale, 127 * scale)\n"
                "return c + tf.stop_gradient(scale * tf.round(c / scale) - c)",
                "three bits",
            ),
            (
                "return x + tf.stop_gradient(scale * tf.round(x / scale) - x)",
                "outside the codes",
            ),
            (
                "q = scale * tf.round(tf.clip_by_value(x, scale * low, scale * high) / scale)\n"
                "above = tf.minimum(x, scale * high)\n"
                "return above + tf.stop_gradient(q - above)",
                "−100 is clipped",
            ),
        ],
        "four_terms": [
            (
                "p = int(q_x @ q_w)\nreturn p, int(zero_x * q_x.sum()), int(zero_w * q_w.sum()), "
                "len(q_x) * zero_x * zero_w",
                "crossed",
            ),
            (
                "p = int(q_x @ q_w)\n"
                "return p, int(zero_w * q_x.sum()), int(zero_x * q_w.sum()), zero_x * zero_w",
                "each of the n",
            ),
            (
                "p = int(q_x @ q_w)\nreturn p, -int(zero_w * q_x.sum()), -int(zero_x * q_w.sum()), "
                "len(q_x) * zero_x * zero_w",
                "signs",
            ),
            (
                "p = int(q_x @ q_w)\nreturn p, int(zero_x * q_w.sum()), int(zero_w * q_x.sum()), "
                "len(q_x) * zero_x * zero_w",
                "each other",
            ),
        ],
        "quantized_multiplier": [
            ("return round(m * 2**31), 0", "Normalise"),
            ("f, e = np.frexp(m)\nreturn int(f * 2**31), int(e)", "Round"),
            ("f, e = np.frexp(m)\nreturn round(float(f) * 2**31), -int(e)", "sign"),
            ("f, e = np.frexp(m)\nreturn round(float(f) * 2**31), int(e)", "halve"),
        ],
        "rescale": [
            (
                "s = 31 - np.asarray(e, np.int64)\nq = (sums.astype(np.int64) * m0) >> s\n"
                "return np.clip(q + zero_y, zero_y if relu else -128, 127).astype(np.int8)",
                "one half",
            ),
            (
                "s = 31 - np.asarray(e, np.int64)\n"
                "q = (sums.astype(np.int64) * m0 + (np.int64(1) << (s - 1))) >> s\n"
                "return np.clip(q + zero_y, -128, 127).astype(np.int8)",
                "begins at Z_y",
            ),
            (
                "s = 31 - np.asarray(e, np.int64)\n"
                "q = (sums.astype(np.int64) * m0 + (np.int64(1) << (s - 1))) >> s\n"
                "return np.clip(q, 0 if relu else -128, 127).astype(np.int8)",
                "zero point",
            ),
            (
                "s = 31 - np.asarray(e, np.int64)\n"
                "q = (sums.astype(np.int64) * m0 + (np.int64(1) << (s - 1))) >> s\n"
                "return (q + zero_y).astype(np.int8)",
                "wrapped round",
            ),
            (
                "s = 31 - np.asarray(e, np.int64)\n"
                "q = (sums.astype(np.int64) * m0 + (np.int64(1) << (s - 1))) >> s\n"
                "return np.clip(q + zero_y, 0 if relu else -128, 127).astype(np.int8)",
                "cut off below that",
            ),
            (
                "s = 31 - np.asarray(e, np.int64)\n"
                "q = (sums * m0 + (np.int64(1) << (s - 1))) >> s\n"
                "return np.clip(q + zero_y, zero_y if relu else -128, 127).astype(np.int8)",
                "up to 62 bits",
            ),
        ],
        "integer_convolution": [
            (
                "x = q_x.astype(np.int32)\n"
                "if same:\n"
                "    x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))\n"
                "w = np.lib.stride_tricks.sliding_window_view(x - zero_x, (side, side), axis=(1, 2))\n"
                'return np.einsum("nhwcij,ijco->nhwo", w, q_w.astype(np.int32), optimize=True)',
                "padded with the code 0",
            ),
            (
                "x = q_x.astype(np.int32)\n"
                "if same:\n"
                "    x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))\n"
                "w = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))\n"
                'return np.einsum("nhwcij,ijco->nhwo", w, q_w.astype(np.int32), optimize=True)',
                "zero point is missing",
            ),
            (
                "x = q_x.astype(np.int32) - zero_x\n"
                "w = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))\n"
                'return np.einsum("nhwcij,ijco->nhwo", w, q_w.astype(np.int32), optimize=True)',
                "half a kernel",
            ),
            (
                "x = (q_x - zero_x).astype(np.int8)\n"
                "if same:\n"
                "    x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))\n"
                "w = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))\n"
                'return np.einsum("nhwcij,ijco->nhwo", w, q_w, optimize=True)',
                "",
            ),
            (
                "x = q_x.astype(np.int32) - zero_x\n"
                "x = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))\n"
                "w = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))\n"
                'return np.einsum("nhwcij,ijco->nhwo", w, q_w.astype(np.int32), optimize=True)',
                "only whole windows",
            ),
        ],
        "make_quantization_aware": [
            ("return model", "quantize_model"),
            ("return tf.keras.models.clone_model(model)", "quantize_model"),
            (
                "return tfmot.quantization.keras.quantize_model(tf.keras.models.clone_model(model))",
                "new weights",
            ),
        ],
        "fine_tune": [
            (
                "recipe = network.RECIPES[PROFILE].but(epochs=EPOCHS, learning_rate=1e-9)\n"
                "return training.fit(aware, data, recipe, seed)",
                "rate",
            ),
            (
                "recipe = network.RECIPES[PROFILE].but(epochs=EPOCHS, learning_rate=0.3)\n"
                "return training.fit(aware, data, recipe, seed)",
                "rate",
            ),
            (
                "recipe = network.RECIPES[PROFILE].but(epochs=1, learning_rate=4e-4)\n"
                "return training.fit(aware, data, recipe, seed)",
                "epochs",
            ),
        ],
        "convert_quantization_aware": [
            ("return converter.convert()", "optimizations"),
            (
                "converter.optimizations = [tf.lite.Optimize.DEFAULT]\nreturn converter.convert()",
                "inference_input_type",
            ),
            (
                "return post_training.convert(base, 'dynamic_range')",
                "inference_input_type",
            ),
        ],
    },
}
