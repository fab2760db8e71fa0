import dataclasses
import shutil
import subprocess

import numpy as np
import pytest
from typer.testing import CliRunner

from labkit import cli, files
from labkit.har import HarError, c_code, export
from labkit.har.pipeline import Clip, Gravity, LowPass, Median, Pipeline
from labkit.measure import micro, read_graph

COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")


@pytest.fixture(autouse=True)
def _no_warnings(monkeypatch):
    monkeypatch.setattr(export, "FLAGS", (*export.FLAGS, "-Werror"))


@needs_compiler
def test_c_gives_python_s_bits_on_a_thousand_windows(model, pipeline):
    found = export.check(model, pipeline)
    assert found == export.Check(1000, 1000 * 128 * 9, 0, 0, found.compiler)
    assert found.ok and "0 differ as floats, 0 as codes" in str(found)


@needs_compiler
@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Median(),),
        (LowPass(1, 5.0),),
        (Clip(0.3),),
        (LowPass(4, 5.0), Gravity(2, 1.0), Gravity(1, 1.0)),
    ],
)
def test_c_of_other_pipelines(tmp_path, model, steps, monkeypatch):
    pipeline = Pipeline(steps, window=20, hop=7)
    monkeypatch.setattr(export, "fits", lambda *arguments: None)
    assert export.check(model, pipeline, 50).ok


@needs_compiler
def test_a_difference_is_found(model, pipeline, monkeypatch):
    """One unit in the last place of one coefficient."""
    original = c_code.literal
    mean = pipeline.steps[-1].mean[0]

    def literal(value):
        return original(np.nextafter(np.float32(value), np.float32(9)) if value == mean else value)

    monkeypatch.setattr("labkit.har.pipeline.literal", literal)
    found = export.check(model, pipeline, 20)
    assert found.float_bits > 100 and not found.ok


@needs_compiler
@pytest.mark.parametrize("type_name", ["int8", "uint8", "int16"])
def test_codes_are_litert_s_quantize(type_name):
    """Also halves, both ends, and values beyond them."""
    from labkit.measure.tflite import quantize

    end = c_code.End(type_name, 0.5, 3, 1)
    x = np.float32([0, 0.25, -0.25, 0.75, 0.74, 1e6, -1e6, 63.1])
    details = {"dtype": np.dtype(type_name), "quantization": (0.5, 3)}
    np.testing.assert_array_equal(end.codes(x), quantize(x, details))


def test_header_of_the_model(model, pipeline, tmp_path):
    written = export.export(model, tmp_path / "c", pipeline)
    assert [path.name for path in written.paths] == [
        "har_model.h",
        "har_preprocess.h",
        "har_preprocess.c",
    ]
    text = written.paths[0].read_text()
    graph = read_graph(model)
    scale = graph.tensors[graph.inputs[0]].scales[0]
    assert f"#define HAR_INPUT_SCALE {scale:.9g}f\n" in text
    assert f"#define HAR_MODEL_BYTES {model.stat().st_size}\n" in text
    operators = written.report.operators
    assert f"#define HAR_OPERATORS {len(operators)}\n" in text
    assert "resolver.AddConv2D()" in text and "resolver.AddFullyConnected()" in text
    if micro.available():
        assert f"#define HAR_ARENA_BYTES {micro.run(model).arena_bytes}\n" in text


def test_header_without_tflite_micro_says_so(model, pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(micro, "available", lambda: False)
    export.export(model, tmp_path, pipeline)
    text = (tmp_path / "har_model.h").read_text()
    assert "HAR_ARENA_BYTES was not measured" in text and "#define HAR_ARENA" not in text


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler here")
def test_the_headers_are_cpp_too(model, pipeline, tmp_path):
    export.export(model, tmp_path, pipeline)
    names = {c_code.method(o) for o in micro.run(model).operators}
    methods = "".join(f"int {name}() {{ ++added; return 0; }}\n" for name in names)
    (tmp_path / "main.cpp").write_text(
        '#include "har_model.h"\n#include "har_preprocess.h"\n'
        f"struct Resolver {{ int added = 0; {methods} }};\n"
        "static har_state state;\n"
        "int main() { Resolver r; har_reset(&state); float x[HAR_SAMPLE] = {0};\n"
        "  bool whole = false; for (int i = 0; i < HAR_WINDOW; ++i) whole = har_push(&state, x);\n"
        "  bool aligned = reinterpret_cast<uintptr_t>(har_model) % 16 == 0;\n"
        "  return har_add_operators(r) && r.added == HAR_OPERATORS && whole && aligned ? 0 : 1; }\n"
    )
    flags = ["-Wall", "-Wextra", "-Werror"]
    for command in (
        [COMPILER, "-c", "har_preprocess.c", "-o", "p.o"],
        ["g++", "-std=c++14", *flags, "main.cpp", "p.o", "-o", "program", "-lm"],
        ["./program"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("operator", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("DEPTHWISE_CONV_2D", "AddDepthwiseConv2D"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
        ("RELU6", "AddRelu6"),
        ("EXPAND_DIMS", "AddExpandDims"),
        ("TFLM_DECODE", "AddDecode"),
    ],
)
def test_methods_of_the_resolver(operator, method):
    assert c_code.method(operator) == method


def test_models_that_do_not_fit_are_refused(model, pipeline, tmp_path, rewritten_input):
    other = dataclasses.replace(pipeline, window=64)
    with pytest.raises(HarError, match=r"takes 1 input\(s\) of the shape \(1, 128, 9\)"):
        export.export(model, tmp_path, other)
    with pytest.raises(HarError, match="expected float or int8"):
        export.export(rewritten_input, tmp_path, pipeline)


@pytest.fixture
def rewritten_input(model, tmp_path, monkeypatch):
    """The model, its input said to be int32."""
    from labkit import flatbuffer

    monkeypatch.setattr(micro, "available", lambda: False)
    content = flatbuffer.unpack(model.read_bytes())
    graph = content.subgraphs[0]
    graph.tensors[graph.inputs[0]].type = flatbuffer.schema.TensorType.INT32
    return files.write_bytes(tmp_path / "other.tflite", flatbuffer.pack(content))


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["har", *map(str, arguments)])


@needs_compiler
def test_command(model, tmp_path):
    result = invoke("export", model, "--out", tmp_path / "c", "--check", "--windows", "20")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "c" / "har_preprocess.c").exists()
    assert "0 differ as floats, 0 as codes" in result.output


def test_mistakes_are_one_line(model, tmp_path, monkeypatch):
    alone = files.write_bytes(tmp_path / "alone.tflite", model.read_bytes())
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for arguments, message in (
        ((model,), "--out DIR, or --check"),
        ((alone, "--out", tmp_path), "--pipeline names the file"),
        ((model, "--pipeline", tmp_path / "no.json", "--out", tmp_path), "cannot read"),
        ((model, "--check"), "no C compiler"),
    ):
        result = invoke("export", *arguments)
        line = cli._one_line(result.exception)
        assert message in line and "\n" not in line
