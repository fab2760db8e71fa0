"""Wrong answers to the exercises of labs 09 and 11."""

_NOISE = """
    ends = simulator.oscillators(room, np.array([distance - step, distance + step]))
    slope = {}
    return {}
"""
_RIGHT_SLOPE = "abs((ends[1] - ends[0]) / (2 * step))"
_JUDGED = """
    error = {}
    return error, {}
"""
_RIGHT_ERROR = "np.linalg.norm(found - wanted, axis=1).mean()"
_RIGHT_SECOND = "np.linalg.norm(np.diff(found, 2, axis=0), axis=1).mean()"
_FLATTENED = """
    widths = [channels, *filters]
    total -= sum({} for a, b in itertools.pairwise(widths))
    total -= sum((a + 1) * b for a, b in itertools.pairwise({}))
    return {}
"""
_RIGHT_PARAMETERS, _RIGHT_DENSE = "(taps * a + 1) * b", "[*hidden, outputs]"
_SMOOTHED = "return np.stack([{} for i in range(len(path))])"
_INTERVAL_OF_SLOPE = """
    line = stats.linregress(x, y)
    half = {} * line.stderr
    return line.slope - half, line.slope + half
"""
_MOVED = """
    lowest, highest = {}
    if kind == "last value":
        return lowest, highest
    if kind == "moving average":
        return {}
    return {}
"""
_WITH_ZERO = "min(values.min(), 0), max(values.max(), 0)"
_TOWARDS = "low + 0.001 * (lowest - low), high + 0.001 * (highest - high)"
_WIDENED = "min(low, lowest), max(high, highest)"
_STEPS = "return int(np.ceil(np.log({}) / np.log(1 - rate)))"
_BEST = """
    ordered, n = {}, len(runs)
    above = (1 - np.arange(n + 1) / n) ** k
    return np.sum(ordered * (above[:-1] - above[1:]){})
"""
_LSTM = """
    {} = np.split(x @ W + h @ U + b, 4, axis=1)
    old = c
    c = {} + np.tanh(g) / (1 + np.exp(-i))
    return {} / (1 + np.exp(-o)), c
"""
_SCALED = """
    shift = {}
    scaled = {}
    return {}
"""
_ONCE = "(total * m + (1 << (shift - 1))) >> shift"
_WITHIN = "max(-128, min(127, scaled + zero_y))"
_FEW_BITS = """
    steps = 2**bits - 1
    q = 2 * np.round(steps * (np.clip(w, -1, 1) + 1) / 2) / steps - 1
    if bits == 1:
        q = np.where(w >= 0, 1.0, -1.0)
    {}
"""
_THREE_VALUES = """
    if bits == 1:
        return np.where(w >= 0, 1.0, -1.0) * np.mean(np.abs(w))
    q = {}
    return q * np.sum(w * q) / np.sum(q**2)
"""
_SLOPE = """
    logs = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))
    kept = {}
    x, y = logs[:kept], -np.log1p(-np.arange({}) / len(logs))
    return {}
"""
_SLOPE_KEPT, _SLOPE_RANKS, _SLOPE_FIT = (
    "min(int(len(logs) * (1 - discard)), len(logs) - 1)",
    "1, kept + 1",
    "x @ y / (x @ x)",
)
_CHOSEN = """
    pairs = itertools.pairwise(names)
    steps = {{name: dimensions[name] - dimensions[before] for before, name in pairs}}
    size = abs if rule == "change" else float
    return [name for name in {} if {}]
"""
_DIFFERING = "differing = np.bitwise_count(left[:, None] ^ right[None]).sum(axis=2, dtype=int)\n"
_SAME = "same = np.bitwise_count(~(left[:, None] ^ right[None])).sum(axis=2, dtype=int)\n"
_INTERVAL = """
    images, found = wrong.shape[1], []
    for _ in range(draws):
        drawn = {}
        found.append(stats.spearmanr(predicted, {})[0])
    return np.quantile(found, {})
"""
_DRAWN, _ERRORS, _ENDS = (
    "random.integers(0, images, images)",
    "wrong[:, drawn].mean(axis=1)",
    "[0.025, 0.975]",
)
_UNITS = """
    without = bits / 8 * (27 * first + 9 * first * second + 16) + 4 * (first + second + 17)
    return {}
"""

WRONG = {
    "09_localisation": {
        "position_noise": [
            (_NOISE.format("(ends[0] - ends[1]) / (2 * step)", "room.noise / slope"), "magnitude"),
            (_NOISE.format("abs((ends[1] - ends[0]) / step)", "room.noise / slope"), "two steps"),
            (_NOISE.format(_RIGHT_SLOPE, "room.noise * slope"), "divided by hertz a metre"),
            (_NOISE.format(_RIGHT_SLOPE, "1 / slope"), "the noise is `room.noise`"),
        ],
        "judged": [
            (_JUDGED.format("np.abs(found - wanted).mean()", _RIGHT_SECOND), "mean of the coord"),
            (
                _JUDGED.format(
                    "np.sqrt((np.linalg.norm(found - wanted, axis=1) ** 2).mean())", _RIGHT_SECOND
                ),
                "not the root of the mean square",
            ),
            (
                _JUDGED.format("np.sqrt(((found - wanted) ** 2).mean())", _RIGHT_SECOND),
                "the root of the MSE",
            ),
            (
                _JUDGED.format(
                    _RIGHT_ERROR, "np.linalg.norm(np.diff(found, axis=0), axis=1).mean()"
                ),
                "difference them once more",
            ),
            (
                _JUDGED.format(
                    _RIGHT_ERROR,
                    "np.abs(np.diff(np.linalg.norm(np.diff(found, axis=0), axis=1))).mean()",
                ),
                "throws the direction away",
            ),
            (
                _JUDGED.format(_RIGHT_ERROR, "np.abs(np.diff(found, 2, axis=0)).mean()"),
                "The length of each second difference",
            ),
        ],
        "flattened": [
            (
                _FLATTENED.format(_RIGHT_PARAMETERS, _RIGHT_DENSE, "total // hidden[0]"),
                "biases of its own",
            ),
            (
                _FLATTENED.format(_RIGHT_PARAMETERS, "hidden", "(total - hidden[0]) // hidden[0]"),
                "The last layer has parameters, too",
            ),
            ("return 30 * filters[-1]", "without pooling"),
            (
                _FLATTENED.format(
                    "(taps * channels + 1) * b", _RIGHT_DENSE, "(total - hidden[0]) // hidden[0]"
                ),
                "sees 64 channels",
            ),
        ],
        "smoothed": [
            (
                _SMOOTHED.format(
                    "path[max(0, i - length // 2) : i + length // 2 + 1].mean(axis=0)"
                ),
                "That looks ahead",
            ),
            (
                _SMOOTHED.format("path[max(0, i - length + 1) : i + 1].sum(axis=0) / length"),
                "divide by how many there are",
            ),
            (
                _SMOOTHED.format("path[max(0, i - length + 2) : i + 1].mean(axis=0)"),
                "the place itself and two before it",
            ),
            (_SMOOTHED.format("path[max(0, i - length + 1) : i + 1].mean()"), ""),
        ],
        "slope_interval": [
            (_INTERVAL_OF_SLOPE.format("1.959964"), "the normal distribution's"),
            (_INTERVAL_OF_SLOPE.format("stats.t.ppf(0.975, len(x) - 1)"), "degrees of freedom"),
            (_INTERVAL_OF_SLOPE.format("1"), "one standard error"),
            (_INTERVAL_OF_SLOPE.format("stats.t.ppf(0.95, len(x) - 2)"), "on either side"),
        ],
        "moved": [
            (
                _MOVED.format(
                    _WITH_ZERO,
                    "0.001 * low + 0.999 * lowest, 0.001 * high + 0.999 * highest",
                    _WIDENED,
                ),
                "not all but a thousandth",
            ),
            (
                _MOVED.format(_WITH_ZERO, "low + 0.001 * lowest, high + 0.001 * highest", _WIDENED),
                "of the *difference*",
            ),
            (
                _MOVED.format(_WITH_ZERO, _TOWARDS, "max(low, lowest), min(high, highest)"),
                "never narrowed",
            ),
            (
                _MOVED.format("values.min(), values.max()", _TOWARDS, _WIDENED),
                "Zero has to be inside",
            ),
            (_MOVED.format(_WITH_ZERO, _TOWARDS, "lowest, highest"), ""),
        ],
        "steps_until": [
            (
                "return int(np.log(excess * width / (start - width)) / np.log(1 - rate))",
                "round up",
            ),
            (_STEPS.format("(1 + excess) * width / start"), "what is left of the way"),
            (_STEPS.format("excess * width / start"), "from the start to the width"),
        ],
        "on_front": [
            (
                "return np.array([(costs <= one).all(axis=1).sum() == 1 for one in costs])",
                "Equal designs do not beat",
            ),
            (
                "return np.array([not (costs < one).all(axis=1).any() for one in costs])",
                "is enough",
            ),
            (
                "return np.array([not (costs <= one).all(axis=1).any() for one in costs])",
                "does not beat itself",
            ),
        ],
        "expected_best": [
            ("return np.min(runs)", "the least of all runs"),
            (
                "import math\n"
                "ordered, n = np.sort(runs), len(runs)\n"
                "ways = [math.comb(n - 1 - i, k - 1) for i in range(n)]\n"
                "return np.sum(ordered * ways) / math.comb(n, k)",
                "without replacement",
            ),
            ("return np.mean(runs)", "That is the mean"),
            (_BEST.format("np.asarray(runs)", ""), "Sort the runs first"),
            (_BEST.format("np.sort(runs)[::-1]", ""), "the greatest of the draws"),
        ],
        "lstm_step": [
            (_LSTM.format("i, f, g, o", "c / (1 + np.exp(-f))", "np.tanh(old)"), "the new state"),
            (_LSTM.format("i, f, g, o", "c / (1 + np.exp(-f))", "c"), "tanh of the state"),
            (_LSTM.format("f, i, g, o", "c / (1 + np.exp(-f))", "np.tanh(c)"), "second quarter"),
            (_LSTM.format("i, f, g, o", "c", "np.tanh(c)"), "A forget gate of 0 forgets"),
            (_LSTM.format("i, f, o, g", "c / (1 + np.exp(-f))", "np.tanh(c)"), "third quarter"),
        ],
        "folded_bias": [
            ("return bias + zero_x * codes.sum(axis=1, dtype=np.int64)", "has a minus"),
            ("return bias", "share is missing"),
            ("return bias - (codes * zero_x).sum(axis=1)", "eight bits overflow"),
        ],
        "scaled_sum": [
            (_SCALED.format("31 - s", "total * m >> shift", _WITHIN), "Half of the last place"),
            (_SCALED.format("31", _ONCE, _WITHIN), "s shifts, too"),
            (
                _SCALED.format(
                    "31 - s",
                    "((abs(total) * m + (1 << (shift - 1))) >> shift) * (1 if total > 0 else -1)",
                    _WITHIN,
                ),
                "Halves *upwards*",
            ),
            (_SCALED.format("31 - s", _ONCE, "scaled + zero_y"), "end at −128 and 127"),
            (
                _SCALED.format("31 - s", _ONCE, "max(-128, min(127, scaled)) + zero_y"),
                "The zero point first",
            ),
        ],
    },
    "11_which_layers_matter": {
        "inputs_of": [
            ("return parameters // units", "A bias for each unit is among them"),
            ("return (parameters - units) // units", "It does not come out"),
            ("return (parameters - units) / units", "a whole number of inputs"),
            ("return (parameters - 1) // units", ""),
        ],
        "times_smaller": [
            (
                "return np.mean([32 / bits.get(name, 32) for name in parameters])",
                "ratios do not",
            ),
            (
                "planned = sum(parameters[name] * width for name, width in bits.items())\n"
                "return 32 * sum(parameters.values()) / planned",
                "that the plan does not name have 32 bits",
            ),
            (
                "planned = sum(count * bits.get(name, 32) for name, count in parameters.items())\n"
                "return planned / (32 * sum(parameters.values()))",
                "The other way round",
            ),
        ],
        "paired": [
            (
                "difference = np.asarray(first, float) - second\n"
                "return difference.mean(), difference.std() / np.sqrt(len(difference))",
                "In points",
            ),
            (
                "difference = 100 * (np.asarray(second, float) - first)\n"
                "return difference.mean(), difference.std() / np.sqrt(len(difference))",
                "The first less the second",
            ),
            (
                "a, b = 100 * np.asarray(first, float), 100 * np.asarray(second, float)\n"
                "return (a - b).mean(), np.sqrt((a.var() + b.var()) / len(a))",
                "two different sets of images",
            ),
            (
                "difference = 100 * (np.asarray(first, float) - second)\n"
                "return difference.mean(), difference.std()",
                "That is how single images scatter",
            ),
            (
                "difference = 100 * (np.asarray(first, float) - second)\n"
                "return difference.mean(), difference.std() / len(difference)",
                "",
            ),
        ],
        "few_bits": [
            (_FEW_BITS.format("return q"), "The scale: α = mean |w|"),
            (
                _FEW_BITS.format("return q * (np.mean(np.abs(w)) if bits == 1 else 1)"),
                "The scale α.",
            ),
            (_FEW_BITS.format("return q * np.mean(np.abs(w))"), "for one bit alone"),
            (_THREE_VALUES.format("np.round(np.clip(w, -1, 1))"), "three values with a zero"),
            (
                _THREE_VALUES.format("np.trunc(np.clip(w, -1, 1) + np.sign(w) / 2)"),
                "three values with a zero",
            ),
            (
                "steps = 2**bits - 1\n"
                "q = 2 * np.round(steps * (w + 1) / 2) / steps - 1\n"
                "if bits == 1:\n"
                "    q = np.where(w >= 0, 1.0, -1.0)\n"
                "return q * np.sum(w * q) / np.sum(q**2)",
                "",
            ),
        ],
        "slope": [
            (_SLOPE.format(_SLOPE_KEPT, _SLOPE_RANKS, "x @ y / (x @ x) - 1"), "takes one off"),
            (_SLOPE.format(_SLOPE_KEPT, _SLOPE_RANKS, "x @ y / (x @ x) + 1"), "nothing is added"),
            (_SLOPE.format(_SLOPE_KEPT, _SLOPE_RANKS, "x @ y / (y @ y)"), "y over x"),
            (_SLOPE.format(_SLOPE_KEPT, _SLOPE_RANKS, "np.polyfit(x, y, 1)[0]"), ""),
            (_SLOPE.format(_SLOPE_KEPT, "kept", _SLOPE_FIT), ""),
            (_SLOPE.format("len(logs) - 1", _SLOPE_RANKS, _SLOPE_FIT), ""),
        ],
        "chosen": [
            (
                _CHOSEN.format("names[1:]", "size(steps[name]) > threshold"),
                "stay in full precision",
            ),
            (_CHOSEN.format("names[2:-1]", "steps[name] > threshold"), "A fall of 35"),
            (_CHOSEN.format("names[2:-1]", "size(steps[name]) > 0"), "More than Δ"),
            (_CHOSEN.format("names[2:-1]", "abs(steps[name]) > threshold"), ""),
            (_CHOSEN.format("names[2:-1]", "size(steps[name]) >= threshold"), ""),
        ],
        "xnor_products": [
            (
                _DIFFERING + "return 8 * left.shape[1] - 2 * differing",
                "K is the number of signs",
            ),
            (
                _SAME + "return 2 * same - width",
                "counting those that are the same counts them",
            ),
            (
                _SAME + "return 2 * same - width",
                "count where rows differ",
            ),
            (
                _DIFFERING + "return differing",
                "That is how many differ",
            ),
            (
                _DIFFERING + "return width - differing",
                "That is how many differ, or are the same",
            ),
            (
                _DIFFERING + "return (width - 2 * differing).astype(np.uint8)",
                "",
            ),
        ],
        "trace": [
            (
                "signs = random.choice([-1.0, 1.0], (draws, size))\n"
                "return float(np.mean([v * times(v) for v in signs]))",
                "over the entries it is a sum",
            ),
            (
                "uniform = random.uniform(-1, 1, (draws, size))\n"
                "return float(np.mean([v @ times(v) for v in uniform]))",
                "signs have 1",
            ),
            (
                "v = random.choice([-1.0, 1.0], size)\nreturn float(v @ times(v))",
                "only one v is drawn",
            ),
            (
                "return float(sum(times(v) @ v for v in np.eye(size)))",
                "the diagonal was asked entry by entry",
            ),
            (
                "signs = random.choice([-1.0, 1.0], (draws, size))\n"
                "return float(np.sum([v @ times(v) for v in signs]))",
                "",
            ),
        ],
        "interval_of": [
            (
                _INTERVAL.format(_DRAWN, "1 - " + _ERRORS, _ENDS),
                "errors, not accuracies",
            ),
            (
                _INTERVAL.format("random.permutation(images)", _ERRORS, _ENDS),
                "images are drawn with repetition",
            ),
            (_INTERVAL.format(_DRAWN, _ERRORS, "[0.25, 0.75]"), "2.5 and 97.5 %"),
            (_INTERVAL.format(_DRAWN + "[:40]", _ERRORS, _ENDS), ""),
            (
                _INTERVAL.format(
                    "random.integers(0, images, wrong.shape)",
                    "np.take_along_axis(wrong, drawn, axis=1).mean(axis=1)",
                    _ENDS,
                ),
                "",
            ),
            (
                _INTERVAL.format(
                    "np.random.default_rng(0).integers(0, images, images)", _ERRORS, _ENDS
                ),
                "the measured correlation is outside",
            ),
        ],
        "units_that_fit": [
            (
                _UNITS.format(
                    "int(np.ceil((budget - without) / (bits / 8 * (64 * second + 16) + 4)))"
                ),
                "round down",
            ),
            (
                _UNITS.format("int((budget - without - 1) // (bits / 8 * (64 * second + 16) + 4))"),
                "Exactly the budget is allowed",
            ),
            (
                _UNITS.format("int((budget - without) // (bits / 8 * (64 * second + 16 + 4)))"),
                "",
            ),
            (
                "without = bits / 8 * (27 * first + 9 * first * second + 16)\n"
                "return int((budget - without) // (bits / 8 * (64 * second + 16) + 4))",
                "",
            ),
        ],
    },
}
