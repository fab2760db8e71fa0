import io
import json

import numpy as np
import pytest

from labkit.grading import hidden
from labkit.grading.box import execution, sandbox
from labkit.grading.inside import measuring


@pytest.fixture(scope="module")
def loaded(split):
    return hidden.make("synthetic", 48, b"", split)


@pytest.fixture(scope="module")
def arrays(loaded):
    with np.load(io.BytesIO(loaded.to_bytes())) as stored:
        return dict(stored)


def changed(content, change):
    """A model file whose FlatBuffer is changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(model, schema)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def make_custom(name):
    def change(model, schema):
        code = model.operatorCodes[0]
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = name

    return change


def test_figures_of_a_good_file(model_files, arrays):
    found = measuring.measure(model_files["int8"], arrays)
    assert found["accuracy"] == 1.0 and found["bytes"] == len(model_files["int8"])
    assert found["weight_types"] == ["int8"] and found["storage_bits"] == 8
    assert measuring.measure(model_files["float16"], arrays)["storage_bits"] == 16


@pytest.mark.parametrize("name", ["MyOperator", "FlexErf", "FlexPyFunc", "<script>"])
def test_custom_and_tensorflow_operators_are_refused(model_files, arrays, name):
    found = measuring.measure(changed(model_files["float"], make_custom(name)), arrays)
    assert found["problem"] == f"operators that are not allowed: {name}"
    assert "accuracy" not in found


def test_control_flow_and_variables_are_not_on_the_list():
    refused = {
        "WHILE",
        "IF",
        "CALL",
        "CALL_ONCE",
        "VAR_HANDLE",
        "READ_VARIABLE",
        "HASHTABLE_FIND",
        "EMBEDDING_LOOKUP",
        "GATHER",
        "RANDOM_UNIFORM",
        "CUSTOM",
    }
    assert not refused & measuring.ALLOWED


def test_weights_computed_at_run_time_are_refused(model_files, arrays):
    def change(model, schema):
        graph = model.subgraphs[0]
        matrix = next(o for o in graph.operators if len(o.inputs) == 3)
        matrix.inputs = [matrix.inputs[0], graph.inputs[0], matrix.inputs[2]]

    found = measuring.measure(changed(model_files["float"], change), arrays)
    assert "computed at run time" in found["problem"]


def test_every_truncation_is_told_not_raised(model_files, arrays):
    content = model_files["int8"]
    for length in [0, 3, 8, 20, *range(30, len(content) - 1, len(content) // 40)]:
        assert "accuracy" not in measuring.measure(content[:length], arrays)


def test_a_child_measures_all_and_survives_what_is_no_model(model_files, loaded):
    """Random damage may crash the interpreter; the other files are measured all the same."""
    rng = np.random.default_rng(0)
    files = {"good": model_files["int8"], "zz_good": model_files["float"]}
    for number in range(12):
        damaged = bytearray(model_files["int8"])
        for place in rng.integers(8, len(damaged), 40):
            damaged[place] = rng.integers(256)
        files[f"h{number}"] = bytes(damaged)
    found = execution.measure(files, loaded.to_bytes(), sandbox.choose())
    assert found.keys() == files.keys()
    assert found["good"]["accuracy"] == found["zz_good"]["accuracy"] == 1.0
    assert all("accuracy" in f or "problem" in f for f in found.values())


def test_a_crash_costs_only_the_file_that_caused_it(model_files, loaded, monkeypatch):
    """A stand-in for a file that ends the process: a limit of time that one of three breaks."""
    real = execution._measure
    calls = []

    def crashing(names, *rest):
        calls.append(list(names))
        if "bad" in names:
            return {n: {"problem": "it crashes the interpreter"} for n in names[:1]}, (
                sandbox.Ended("ended", -11, 0, 0, 0, True)
            )
        return real(names, *rest)

    monkeypatch.setattr(execution, "_measure", crashing)
    files = {"bad": b"", "good": model_files["float"]}
    found = execution.measure(files, loaded.to_bytes(), sandbox.choose())
    assert found["bad"] == {"problem": "it crashes the interpreter"}
    assert found["good"]["accuracy"] == 1.0 and calls == [["bad", "good"], ["good"]]


def test_a_child_that_does_not_start_is_the_machines_fault(model_files, loaded, monkeypatch):
    broken = sandbox.Ended("infrastructure", None, 0, 0, 0, False, "no memory")
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: broken)
    found = execution.measure({"m": model_files["float"]}, loaded.to_bytes(), sandbox.choose())
    assert "did not start" in found["m"]["fault"] and "problem" not in found["m"]


@pytest.mark.parametrize(
    "told", [[1], {}, {"accuracy": "1"}, {"accuracy": float("inf")}, {"problem": 3}]
)
def test_what_is_no_figures_is_a_problem(told, model_files, loaded, monkeypatch):
    """A stand-in for a file that takes the measuring process over."""

    forged = {f"{measuring.FIGURES}/m.json": json.dumps(told).encode()}
    ended = sandbox.Ended("ended", 0, 0, 0, 0, True, files=forged)
    monkeypatch.setattr(sandbox, "run", lambda *a, **k: ended)
    found = execution.measure({"m": b""}, loaded.to_bytes(), sandbox.Isolation("limits"))
    assert found == {"m": {"problem": execution.NO_FIGURES}}


def test_measuring_needs_no_tensorflow():
    import subprocess
    import sys

    code = "import sys, labkit.grading.inside.measuring as m, labkit.grading.inside.figures; "
    code += "m.measure(b'', {}); print('tensorflow' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
