import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from typer.testing import CliRunner

from labkit import cli
from labkit.har import HarError
from labkit.har.stream import Exponential, Majority, Recogniser, Session, file_lines, port_lines

HEAD = "t,label,confidence,window_label,latency_ms"


def line(row):
    return ",".join(f"{value:.9g}" for value in row)


def run(model, pipeline, lines, strict=False, cut=False, **options):
    """Predictions, notes and the session."""
    notes = []
    session = Session(Recogniser(model, pipeline, **options), notes.append, strict)
    return list(session.predictions(lines, cut)), notes, session


@pytest.mark.parametrize("smoothing", ["majority", "exponential"])
def test_streaming_equals_batch_bit_for_bit(model, pipeline, samples, smoothing):
    found, notes, session = run(model, pipeline, map(line, samples), smoothing=smoothing, over=4)
    recogniser = Recogniser(model, pipeline)
    rounded = np.array([[float(f"{v:.9g}") for v in row] for row in samples])
    probabilities = recogniser.probabilities(pipeline.windows(rounded[:, 1:]))
    np.testing.assert_array_equal([p.probabilities for p in found], probabilities)
    smoother = {"majority": Majority, "exponential": Exponential}[smoothing](4)
    labels = [smoother.push(p) for p in probabilities]
    assert [(p.label, p.confidence) for p in found] == [
        (pipeline.labels[label], share) for label, share in labels
    ]
    assert [p.time for p in found] == samples[127::64, 0].round(9).tolist()
    assert all(0 < p.milliseconds < 1000 for p in found)
    assert notes == [] and session.summary().startswith("1,500 samples, 22 windows; latency")


def test_majority():
    smoother = Majority(3)
    votes = [smoother.push(np.eye(3)[i]) for i in (0, 1, 1, 0, 2)]
    assert [label for label, _ in votes] == [0, 1, 1, 1, 2]  # of a tie the newest
    assert votes[2][1] == pytest.approx(2 / 3)


def test_exponential():
    smoother = Exponential(3)  # weight 1/2
    rows = [smoother.push(np.float32(np.eye(2)[i])) for i in (0, 1, 1)]
    assert rows == [(0, 1.0), (0, 0.5), (1, 0.75)]


def test_bad_lines_are_told_by_number_and_skipped(model, pipeline, samples):
    good = list(map(line, samples))
    bad = {
        2: "nothing",
        10: "1,2,3",
        50: line(samples[50]).replace(",", ",nan,", 1),
        60: "\x00,,,,,,",
    }
    lines = [bad.get(i, text) for i, text in enumerate(good, 1)]
    found, notes, session = run(model, pipeline, lines)
    assert [note.split(" is ")[0] for note in notes] == [f"line {i}" for i in bad]
    assert "'nothing' is not a number" in notes[0] or "1 values, expected 7" in notes[0]
    assert session.bad == 4 and "4 bad lines" in session.summary()
    kept = np.delete(samples, [i - 1 for i in bad], axis=0)
    expected, _, _ = run(model, pipeline, map(line, kept))
    assert [p.label for p in found] == [p.label for p in expected]
    with pytest.raises(HarError, match=r"^line 2: "):
        run(model, pipeline, lines, strict=True)


def test_headers_and_separators(model, pipeline, samples):
    expected, _, _ = run(model, pipeline, map(line, samples))
    order = [3, 0, 1, 2, 6, 5, 4]
    names = np.array(["t", "ax", "ay", "az", "gx", "gy", "gz"])[order]
    for separator in (",", ";", "\t", " "):
        rows = [separator.join(line(row).split(",")) for row in samples[:, order]]
        found, notes, _ = run(model, pipeline, [separator.join(names), "", *rows])
        assert notes == []
        assert [(p.time, p.label) for p in found] == [(p.time, p.label) for p in expected]
    with pytest.raises(HarError, match="gz is missing"):
        run(model, pipeline, ["t,ax,ay,az,gx,gy", *map(line, samples)])
    with pytest.raises(HarError, match="there is no sample"):
        run(model, pipeline, [",".join(names)])


def test_after_a_gap_everything_begins_anew(model, pipeline, samples):
    late = samples[300:] + np.eye(7)[0] * 5
    found, notes, _ = run(model, pipeline, map(line, [*samples[:300], *late]))
    first, _, _ = run(model, pipeline, map(line, samples[:300]))
    second, _, _ = run(model, pipeline, map(line, late))
    assert [p.label for p in found] == [p.label for p in (*first, *second)]
    (note,) = notes
    assert note.startswith("line 301: +5.02 s")


def test_another_rate_is_told_once(model, pipeline, samples):
    fast = samples.copy()
    fast[:, 0] /= 2
    _, notes, _ = run(model, pipeline, map(line, fast))
    assert notes == ["samples come at 100 Hz, the pipeline expects 50 Hz"]


def test_what_does_not_fit(model, pipeline):
    import dataclasses

    with pytest.raises(HarError, match="takes 1 input"):
        Recogniser(model, dataclasses.replace(pipeline, window=64, hop=32))
    with pytest.raises(HarError, match="6 classes apart, the pipeline names 2 labels"):
        Recogniser(model, dataclasses.replace(pipeline, labels=("a", "b")))
    with pytest.raises(HarError, match="expected one of majority, exponential"):
        Recogniser(model, pipeline, smoothing="none")


def test_bytes_that_are_no_text_are_a_bad_line(model, pipeline, samples, tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xff\xfe\x00\n" + "\n".join(map(line, samples[:130])).encode())
    found, notes, _ = run(model, pipeline, file_lines(path))
    assert len(found) == 1 and notes[0].startswith("line 1 is skipped")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
def test_a_serial_port(model, pipeline, samples):
    pytest.importorskip("serial")
    import tty

    device, port = os.openpty()
    tty.setraw(port)
    text = "\n".join(["12,3", *map(line, samples[:300]), ""]).encode()

    def send():
        for start in range(0, len(text), 500):  # lines arrive in pieces
            os.write(device, text[start : start + 500])

    sender = threading.Thread(target=send)
    found = []
    with port_lines(os.ttyname(port)) as lines:
        notes = []
        session = Session(Recogniser(model, pipeline), notes.append)
        sender.start()
        for prediction in session.predictions(lines, cut=True):
            found.append(prediction)
            if len(found) == 3:
                sender.join()
                os.close(device)  # unplugged: the lines end, without an error
    os.close(port)
    expected, _, _ = run(model, pipeline, map(line, samples[:300]))
    assert [(p.time, p.label) for p in found] == [(p.time, p.label) for p in expected]
    assert notes == []  # the first line had lost its beginning


def test_ports_that_are_not_there(monkeypatch):
    pytest.importorskip("serial")
    with (
        pytest.raises(HarError, match="nowhere: cannot open the serial port"),
        port_lines("nowhere"),
    ):
        pass
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(HarError, match=r"pip install 'labkit\[device\]'"), port_lines("COM1"):
        pass


def invoke(*arguments, **options):
    return CliRunner().invoke(cli.app, ["har", "stream", *map(str, arguments)], **options)


def test_command(model, samples, tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("\n".join(map(line, samples)))
    result = invoke(model, "--csv", path, "--smoothing", "exponential", "--over", "5")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == HEAD and len(lines) == 23
    assert lines[1].startswith("2.540,")
    assert "1,500 samples, 22 windows; latency median" in result.stderr
    piped = invoke(model, "--stdin", input=path.read_text())
    assert len(piped.stdout.splitlines()) == 23


def test_mistakes_are_one_line(model, tmp_path):
    for arguments, message in (
        ((model,), "give one of --csv"),
        ((model, "--stdin", "--port", "COM1"), "give one of --csv"),
        ((model, "--csv", tmp_path / "none.csv"), "none.csv"),
        ((model, "--stdin"), "there is no sample"),
    ):
        result = invoke(*arguments, input="")
        message_given = cli._one_line(result.exception)
        assert message in message_given and "\n" not in message_given


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_stream_is_ended_by_ctrl_c_or_by_its_reader(model, samples):
    import signal

    code = "from labkit.cli import main; main()"
    command = [sys.executable, "-c", code, "har", "stream", str(model), "--stdin"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdin.write("\n".join(map(line, samples[:200])) + "\n")
        process.stdin.flush()
        head, first = process.stdout.readline(), process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and head.strip() == HEAD and first.startswith("2.540,")
    assert "windows; latency median" in errors and "Traceback" not in errors
    with subprocess.Popen(command, text=True, **pipes) as process:
        process.stdout.close()
        process.stdin.write("\n".join(map(line, samples[:200])) + "\n")
        process.stdin.close()
        errors = process.stderr.read()
    assert process.wait() == 0 and "Traceback" not in errors
