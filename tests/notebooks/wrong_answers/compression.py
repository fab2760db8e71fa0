"""Wrong answers to the exercises of labs 05 to 07."""

WRONG = {
    "05_clustering": {
        "nearest_centroid": [
            (
                "return np.argmin(np.abs(weights[:, None] - centroids), axis=0)",
                "not one a centroid",
            ),
            ("return np.argmax(np.abs(weights[:, None] - centroids), axis=1)", "farthest"),
            ("return np.argmin(weights[:, None] - centroids, axis=1)", "no sign"),
            (
                "return centroids[np.argmin(np.abs(weights[:, None] - centroids), axis=1)]",
                "their numbers",
            ),
            ("return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, weights)", ""),
        ],
        "move_centroids": [
            (
                "for j in range(len(centroids)):\n    moved[j] = weights[indices == j].mean()",
                "no mean",
            ),
            ("pass", "Nothing has moved"),
            (
                "for j in range(len(centroids)):\n    if np.any(indices == j):\n"
                "        moved[j] = np.median(weights[indices == j])",
                "median",
            ),
            (
                "for j in range(len(centroids)):\n"
                "    moved[j] = weights[indices == j].mean() if np.any(indices == j) else 0",
                "stays where it is",
            ),
            (
                "for j in range(len(centroids)):\n    if np.any(indices == j):\n"
                "        moved[j] = weights[indices == j].sum()",
                "That is the sum",
            ),
        ],
        "compression_rate": [
            ("return b / np.ceil(np.log2(k))", "The codebook counts"),
            ("return n * b / (n * k + k * b)", "log₂ k bits, not k"),
            ("return (n * np.ceil(np.log2(k)) + k * b) / (n * b)", "Upside down"),
            ("return n * b / (n * np.ceil(np.log2(k)) + k)", "Each of the k values"),
            ("return n * b / ((n + k) * np.ceil(np.log2(k)))", "not log₂ k"),
            ("return n * b / (n * np.log2(k) + k * b)", "Bits come whole"),
            ("return n * b / (n * int(np.log2(k)) + k * b)", "Round up"),
            ("return n * 32 / (n * np.ceil(np.log2(k)) + k * 32)", "other than 32"),
            ("return n * b / (n * np.ceil(np.log2(k)) + k * 32)", "have b bits, too"),
        ],
        "initial_centroids": [
            (
                "return np.linspace(weights.min(), weights.max(), k + 2)[1:-1], None",
                "extremes themselves",
            ),
            (
                "return np.linspace(0, weights.max(), k), None",
                "which is negative",
            ),
            (
                "return (np.linspace(weights.min(), weights.max(), k),\n"
                "        np.quantile(weights, np.linspace(0, 1, k)))",
                "Take the middles",
            ),
            (
                "return (np.linspace(weights.min(), weights.max(), k),\n"
                "        np.quantile(weights, np.arange(k) / k))",
                "Take the middles",
            ),
            ("return (np.linspace(weights.min(), weights.max(), k),) * 2", "Equal distances"),
        ],
        "centroid_gradient": [
            (
                "counts = np.maximum(np.bincount(indices, minlength=k), 1)\n"
                "return np.bincount(indices, weight_gradients, minlength=k) / counts",
                "chain rule sums",
            ),
            ("return weight_gradients", "not one per weight"),
            ("g = np.zeros(k)\ng[indices] += weight_gradients\nreturn g", "writes once"),
            ("return np.bincount(indices, np.abs(weight_gradients), k)", "opposite directions"),
            ("return np.bincount(indices, weight_gradients)", "minlength"),
        ],
        "train_shared": [
            (
                "wrapped = clustering.cluster(model, clusters, initialisation)\n"
                "training.fit(wrapped, data, recipe, seed)\nreturn wrapped",
                "strip them off",
            ),
            (
                "wrapped = clustering.cluster(model, clusters, initialisation)\n"
                "training.fit(wrapped, data, recipe, seed)\nclustering.strip(wrapped)",
                "Return the stripped network",
            ),
            (
                "training.fit(model, data, recipe, seed)\n"
                "return clustering.strip(clustering.cluster(model, clusters, initialisation))",
                "train what `cluster` returns",
            ),
            (
                "plain = clustering.strip(clustering.cluster(model, clusters, initialisation))\n"
                "training.fit(plain, data, recipe, seed)\nreturn plain",
                "strip last",
            ),
            (
                "return clustering.strip(clustering.cluster(model, clusters, initialisation))",
                "fit the wrapped network",
            ),
            (
                'wrapped = clustering.cluster(model, clusters, "linear")\n'
                "training.fit(wrapped, data, recipe, seed)\nreturn clustering.strip(wrapped)",
                "give `initialisation`",
            ),
        ],
        "unique_per_channel": [
            ("return len(np.unique(kernel))", "over the whole tensor"),
            ("return min(len(np.unique(channel)) for channel in kernel)", "not the fewest"),
            ("return max(len(np.unique(channel)) for channel in kernel.T)", ""),
        ],
        "clusters_by_size": [
            (
                "return {n: few if s <= 1_000 else some if s <= 10_000 else many\n"
                "        for n, s in sizes.items()}",
                "other way round",
            ),
            ("return {n: many if s <= 10_000 else few for n, s in sizes.items()}", "means `some`"),
            (
                "return {n: many if s < 1_000 else some if s <= 10_000 else few\n"
                "        for n, s in sizes.items()}",
                "means 1,000, too",
            ),
        ],
    },
    "06_pruning": {
        "magnitude_mask": [
            (
                "order = np.argsort(np.abs(weights), axis=None)\n"
                "mask = np.zeros(weights.size, bool)\n"
                "mask[order[: round(sparsity * weights.size)]] = True\n"
                "return mask.reshape(weights.shape)",
                "marks the weights that go",
            ),
            (
                "order = np.argsort(weights, axis=None)\nmask = np.ones(weights.size, bool)\n"
                "mask[order[: round(sparsity * weights.size)]] = False\n"
                "return mask.reshape(weights.shape)",
                "By magnitude",
            ),
            ("return np.zeros(weights.shape, bool)", "which ones does the mask keep"),
            (
                "order = np.argsort(-np.abs(weights), axis=None)\n"
                "mask = np.zeros(weights.size, bool)\n"
                "mask[order[: round(sparsity * weights.size)]] = True\n"
                "return mask.reshape(weights.shape)",
                "the part that goes",
            ),
            (
                "order = np.argsort(np.abs(weights), axis=None)\nmask = np.ones(weights.size, bool)\n"
                "mask[order[: int(sparsity * weights.size)]] = False\n"
                "return mask.reshape(weights.shape)",
                "cut it off",
            ),
            (
                "return np.abs(weights) > np.quantile(np.abs(weights), sparsity)",
                "takes all that are equal: count",
            ),
            (
                "return np.abs(weights) >= np.quantile(np.abs(weights), sparsity)",
                "or none",
            ),
        ],
        "lamp_scores": [
            ("return weights**2 / np.sum(weights**2)", "not by the sum"),
            (
                "scores[order[::-1]] = squares[order[::-1]] / np.cumsum(squares[order[::-1]])\n"
                "return scores.reshape(weights.shape)",
                "from the top down",
            ),
            (
                "squares = np.abs(np.ravel(weights))\n"
                "scores[order] = squares[order] / np.cumsum(squares[order])\n"
                "return scores.reshape(weights.shape)",
                "Squares, not magnitudes",
            ),
            (
                "return (squares[order] / np.cumsum(squares[order])).reshape(weights.shape)",
                "undo the sorting",
            ),
        ],
        "polynomial_sparsity": [
            (
                "progress = min(max((step - begin) / (end - begin), 0), 1)\n"
                "return final + (initial - final) * (1 - progress)",
                "straight line",
            ),
            (
                "progress = min(max((step - begin) / (end - begin), 0), 1)\n"
                "return initial + (final - initial) * (1 - progress) ** power",
                "at the end the bracket is 0",
            ),
            (
                "progress = min(max(step / (end - begin), 0), 1)\n"
                "return final + (initial - final) * (1 - progress) ** power",
                "counts from `begin`.",
            ),
            (
                "progress = min(max(step / end, 0), 1)\n"
                "return final + (initial - final) * (1 - progress) ** power",
                "over end − begin",
            ),
            (
                "progress = (step - begin) / (end - begin)\n"
                "return final + (initial - final) * (1 - progress) ** power",
                "Before the first step",
            ),
            (
                "progress = max((step - begin) / (end - begin), 0)\n"
                "return final + (initial - final) * (1 - progress) ** power",
                "After the last step",
            ),
            (
                "progress = min(max((step - begin) / (end - begin), 0), 1)\n"
                "return final + (initial - final) * (1 - progress) ** 3",
                "The power is an argument",
            ),
        ],
        "pruned_layer": [
            (
                "tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=\n"
                "    tfmot.sparsity.keras.PolynomialDecay(initial, final, 0, end, 3, frequency))\n"
                "return layer",
                "does not change the layer",
            ),
            (
                "return tfmot.sparsity.keras.PolynomialDecay(initial, final, 0, end, 3, frequency)",
                "That is the schedule",
            ),
            (
                "schedule = tfmot.sparsity.keras.ConstantSparsity(final, 0, end, frequency)\n"
                "return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)",
                "That is constant",
            ),
            (
                "schedule = tfmot.sparsity.keras.PolynomialDecay(0.0, final, 0, end, 3, frequency)\n"
                "return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)",
                "begins at `initial`",
            ),
            (
                "schedule = tfmot.sparsity.keras.PolynomialDecay(final, initial, 0, end, 3, frequency)\n"
                "return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)",
                "initial sparsity comes first",
            ),
            (
                "schedule = tfmot.sparsity.keras.PolynomialDecay(initial, final, 0, end, 3, 20)\n"
                "return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)",
                "on to the schedule.",
            ),
            (
                "schedule = tfmot.sparsity.keras.PolynomialDecay(initial, final, 0, end, 3)\n"
                "return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)",
                "tfmot's own is 100",
            ),
        ],
        "prune_along": [
            (
                "training.fit(wrapped, data, recipe, seed,\n"
                "             callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])\n"
                "pruning.strip(wrapped)",
                "Return the stripped network",
            ),
            (
                "training.fit(wrapped, data, recipe, seed,\n"
                "             callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])\n"
                "return wrapped",
                "strip them off",
            ),
            ("training.fit(copy, data, recipe, seed)\nreturn copy", "Nothing is pruned"),
            ("training.fit(wrapped, data, recipe, seed)\nreturn pruning.strip(wrapped)", ""),
            (
                "masks = {name: magnitude_mask(k.numpy(), finals.get(name, 0))\n"
                "         for name, k in pruning.prunable(model).items()}\n"
                "return pruning.masked(model, masks)",
                "fit, then strip",
            ),
        ],
        "two_of_four": [
            (
                "rank = np.argsort(np.argsort(groups, axis=1), axis=1)\n"
                "return (rank < 2).reshape(kernel.shape)",
                "not the two smallest",
            ),
            (
                "groups = kernel.reshape(-1, 4, kernel.shape[1])\n"
                "rank = np.argsort(np.argsort(-groups, axis=1), axis=1)\n"
                "return (rank < 2).reshape(kernel.shape)",
                "−0.9 is the largest",
            ),
            (
                "rank = np.argsort(np.argsort(-np.abs(kernel), axis=0), axis=0)\n"
                "return rank < len(kernel) // 2",
                "four by four",
            ),
            (
                "return (np.abs(groups) > 0.45).reshape(kernel.shape)",
                "",
            ),
            (
                "third = np.sort(groups, axis=1)[:, 2:3]\n"
                "return (groups >= third).reshape(kernel.shape)",
                "rank them, and count",
            ),
        ],
        "remove_channels": [
            (
                "keep = np.flatnonzero(keep)\n"
                "return kernel[:, :, keep], gamma[keep], next_kernel[:, :, keep]",
                "filters are its last axis",
            ),
            ("return kernel * keep, gamma * keep, next_kernel", "take the channels out"),
            ("return kernel[..., ~keep], gamma[~keep], next_kernel[:, :, ~keep]", "what stays"),
            ("return kernel[..., keep], gamma, next_kernel[:, :, keep]", "own γ"),
            (
                "return kernel[..., keep], gamma[keep], next_kernel[..., keep]",
                "last axis but one",
            ),
            ("return kernel[..., keep], gamma[keep], next_kernel", "channels that are gone"),
        ],
        "feedback_step": [
            ("return w - rate * gradient(w)", "taken at the pruned weights"),
            ("return mask * w - rate * gradient(mask * w)", "starts from the dense weights"),
            ("return w - rate * mask * gradient(mask * w)", "gradient is not masked"),
            ("return mask * (w - rate * gradient(mask * w))", "The result is dense"),
            ("return w + rate * gradient(mask * w)", "Down the gradient"),
        ],
        "sparse_bits": [
            ("return n * b + k * b, k * (g + b)", "one bit a weight"),
            ("return n + k * b, k * b", "Each gap costs"),
            ("return k * (g + b), n + k * b", "The mask first"),
            ("return n + k, k * (g + b)", "has b bits"),
            ("return n + k * b, n * g + k * b", "k of them, not n"),
        ],
    },
    "07_low_bit": {
        "quantized_bits": [
            (
                "step = 2.0 ** (integer - bits + 1)\nreturn np.clip(np.round(x / step), -7, 7)",
                "Those are the codes",
            ),
            (
                "step = 2.0 ** (integer - bits + 1)\n"
                "low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1\n"
                "return alpha * step * np.clip(np.round(x / step), low, high)",
                "leaves out the smallest code",
            ),
            (
                "step = 2.0 ** (integer - bits)\n"
                "low, high = -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1\n"
                "return alpha * step * np.clip(np.round(x / step), low, high)",
                "One of the four bits is the sign",
            ),
            (
                "step = 2.0 ** (integer - bits + 1)\n"
                "low, high = -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1\n"
                "return alpha * step * np.clip(np.trunc(x / step), low, high)",
                "do not cut off",
            ),
            (
                "step = 2.0 ** (integer - bits + 1)\n"
                "low, high = -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1\n"
                "return alpha * step * np.clip(np.floor(x / step), low, high)",
                "not down",
            ),
            (
                "step = 2.0 ** (integer - bits + 1)\nreturn alpha * step * np.round(x / step)",
                "clip the codes",
            ),
            ("return np.clip(np.round(8 * x), -7, 7) / 8", "are arguments"),
            (
                "step = 2.0 ** (integer - bits + 1)\n"
                "low, high = -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1\n"
                "return step * np.clip(np.round(x / step), low, high)",
                "alpha multiplies",
            ),
            (
                "step = 2.0 ** (integer - bits + 1)\n"
                "low, high = -(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1\n"
                "return alpha * step * np.clip(np.round(x / step), low, high)",
                "without it the code is there",
            ),
        ],
        "trainable_four_bits": [
            (
                "values = tf.clip_by_value(tf.round(8 * x), -7, 7) / 8\n"
                "return values + tf.stop_gradient(x - values)",
                "Forwards it must be the staircase",
            ),
            (
                "values = tf.clip_by_value(tf.round(8 * x), -8, 7) / 8\n"
                "return x + tf.stop_gradient(values - x)",
                "from −7 to 7",
            ),
            ("return tf.clip_by_value(tf.round(8 * x), -7, 7) / 8", "Everything is inside"),
            (
                "clipped = tf.clip_by_value(x, -0.875, 0.875)\n"
                "return clipped + tf.stop_gradient(tf.round(8 * clipped) / 8 - clipped)",
                "lab 04's estimator",
            ),
            (
                "values = tf.clip_by_value(tf.round(8 * x), -7, 7) / 8\n"
                "return 8 * x + tf.stop_gradient(values - 8 * x)",
                "has stayed",
            ),
        ],
        "scale_and_cosine": [
            (
                "return (np.sum(w * q) / np.sum(w * w),\n"
                "        np.sum(w * q) / np.sqrt(np.sum(q * q) * np.sum(w * w)))",
                "the scale multiplies q",
            ),
            (
                "return (np.sum(w * q) / np.sum(q * q),\n"
                "        np.sum(w * q) / (np.sum(q * q) * np.sum(w * w)))",
                "not by their squares",
            ),
            (
                "return np.sum(w * q), np.sum(w * q) / np.sqrt(np.sum(q * q) * np.sum(w * w))",
                "Divide by ⟨q, q⟩.",
            ),
        ],
        "low_bit_network": [  # in the first of its two places
            (
                'x = tf.keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)',
                "take qkeras.QConv2D",
            ),
            (
                'x = qkeras.QConv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)',
                "the quantisers are",
            ),
            (
                'x = qkeras.QConv2D(filters, 3, padding="same", kernel_quantizer=weights,\n'
                '                   name=f"conv{i}")(x)',
                "biases of the convolutions",
            ),
        ],
        "power_of_two": [
            ("return np.sign(x) * 2.0 ** np.round(np.log2(np.abs(x)))", "only three bits"),
            ("return 2.0 ** np.clip(np.round(np.log2(np.abs(x))), low, high)", "sign is lost"),
            (
                "return np.sign(x) * 2.0 ** np.clip(np.floor(np.log2(np.abs(x))), low, high)",
                "not down",
            ),
            (
                "return np.sign(x) * 2.0 ** np.clip(np.trunc(np.log2(np.abs(x))), low, high)",
                "do not cut it off",
            ),
            ("return np.clip(np.round(np.log2(np.abs(x))), low, high)", "Those are the exponents"),
        ],
        "size_in_bits": [
            (
                "total += tf.size(layer.kernel).numpy() * layer.kernel_quantizer_internal.bits",
                "24 biases",
            ),
            (
                "total += tf.size(layer.kernel).numpy() + (24 if layer.use_bias else 0)",
                "number of weights",
            ),
            (
                "total += 32 * (tf.size(layer.kernel).numpy() + (24 if layer.use_bias else 0))",
                "size at 32 bits",
            ),
            (
                "total += 4 * (tf.size(layer.kernel).numpy() + (24 if layer.use_bias else 0))",
                "Each quantiser knows",
            ),
            (
                "bits = layer.kernel_quantizer_internal.bits\n"
                "total += bits * (tf.size(layer.kernel).numpy() + (24 if layer.use_bias else 0))",
                "four bits here, not two",
            ),
        ],
        "pack": [
            (
                "nibbles = codes & 15\nreturn (16 * nibbles[0::2] + nibbles[1::2]).astype(np.uint8)",
                "low half",
            ),
            ("return codes[0::2] + 16 * codes[1::2]", "Bytes are unsigned"),
            (
                "nibbles = codes + 8\nreturn (nibbles[0::2] + 16 * nibbles[1::2]).astype(np.uint8)",
                "not an offset",
            ),
            (
                "nibbles = np.abs(codes) | np.where(codes < 0, 8, 0)\n"
                "return (nibbles[0::2] + 16 * nibbles[1::2]).astype(np.uint8)",
                "not a sign and a magnitude",
            ),
            ("return (codes & 15).astype(np.uint8)", "in *one* byte"),
        ],
    },
}
