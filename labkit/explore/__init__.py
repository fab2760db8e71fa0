"""Design spaces explored: thousands of networks at once, sweeps that go on after a kill, fronts.

`population` trains networks that differ in bits, quantisers, neurons and seeds, all at once;
`sweep` calls any function over a grid or at random; `pareto` and `selection` judge what came out.
Nothing here is imported before it is asked for: compiled loops and TensorFlow take their time.
"""
