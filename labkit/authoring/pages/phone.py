"""The page that recognises activities on a phone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from labkit import course, files
from labkit.authoring.pages import fill_in, network, npm, sources, write
from labkit.compress.float_ends import with_float_ends
from labkit.datasets import har_simulator
from labkit.har import js_code
from labkit.har.export import fits
from labkit.har.pipeline import Pipeline
from labkit.measure import TFLiteModel, read_graph

#: Of lab 08's file beside the one that LiteRT.js takes.
MODEL, RUN = network.FILE, "har_micro_float_ends.tflite"
_SECONDS, _SUBJECT, _SEED = 10, 24, 8  # of the recordings: a person of the test part
#: What the page takes of its packages; of the WebAssembly the threaded kinds need headers that a
#: folder of static files does not have.
_RUNTIME = (
    "core/package.json",
    "core/dist/index.js",
    "core/wasm/litert_wasm_internal.js",
    "core/wasm/litert_wasm_internal.wasm",
    "core/wasm/litert_wasm_compat_internal.js",
    "core/wasm/litert_wasm_compat_internal.wasm",
    "wasm-utils/package.json",
    "wasm-utils/dist/bundle.js",
)
#: Kept when a browser asks for it: of the two files of nine megabytes each takes one.
_LATE = ".wasm"


def build(out: str | Path, models: str | Path | None = None, home: str | None = None) -> Path:
    """Write the page into a folder, which may then be served from anywhere.

    Args:
        out: the page's folder; what was in it is replaced.
        models: the output folder of lab 08; a network is trained on simulated recordings without.
        home: address of the site's first page, as seen from the folder.

    Returns:
        the page's path.

    Raises:
        PageError: npm is not there, or there is no network of lab 08 in `models`.
        HarError: the network does not take the pipeline's windows.
    """
    runtime = npm.packages(sources("phone") / "npm")  # first: it is what may be missing
    chosen = network.of_lab(models) if models else network.quick()
    graph = read_graph(chosen.content)
    fits(graph.tensors[graph.inputs[0]].shape, chosen.pipeline, len(graph.inputs), MODEL)
    out = Path(out)
    shutil.rmtree(out, ignore_errors=True)
    with files.new_folder(out) as folder:
        for name in _RUNTIME:
            place = folder / "litert" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(runtime / "@litertjs" / name, place)
        recorded = _recordings(chosen.pipeline)
        files.write_bytes(folder / "recordings.bin", recorded.astype("<f4").tobytes())
        about = {"activities": chosen.pipeline.labels, "samples": recorded.shape[1]}
        files.write_text(folder / "recordings.json", json.dumps(about) + "\n")
        _write_network(folder, chosen, recorded)
        for size in (192, 512):
            files.write_bytes(folder / f"icon-{size}.png", _icon(size))
        shutil.copyfile(course.root() / "LICENSE", folder / "litert" / "LICENSE")  # theirs, too
        write("phone", folder, home=home, importmap=_importmap_hash())
        fill_in("phone", folder / "sw.js", **_worker(folder))
    return out / "index.html"


def _recordings(pipeline: Pipeline) -> np.ndarray:
    """Some seconds of every activity of one simulated person, float (activities, time, 6)."""
    count = len(har_simulator.ACTIVITIES)
    samples = int(_SECONDS * pipeline.rate)
    return har_simulator.record(np.arange(count), np.full(count, _SUBJECT), samples, _SEED)


def _write_network(folder: Path, chosen: network.HandNetwork, recorded: np.ndarray) -> None:
    inside = with_float_ends(chosen.content)
    files.write_bytes(folder / MODEL, chosen.content)
    files.write_bytes(folder / RUN, inside)
    chosen.pipeline.write((folder / MODEL).with_suffix(".json"))
    files.write_text(folder / "preprocess.js", js_code.preprocessing(chosen.pipeline))
    about = {
        "bytes": len(chosen.content),
        "extra": len(inside) - len(chosen.content),
        "trained": chosen.trained,
        "replayed": _replayed(chosen, recorded),
    }
    files.write_text(folder / "model.json", json.dumps(about) + "\n")


def _replayed(chosen: network.HandNetwork, recorded: np.ndarray) -> str:
    """What the network makes of the recordings, in a sentence."""
    model, labels = TFLiteModel(chosen.content), chosen.pipeline.labels
    wrong = []
    for label, recording in zip(labels, recorded, strict=True):
        answers = model.predict(chosen.pipeline.windows(recording)).argmax(axis=1)
        read = labels[np.bincount(answers).argmax()]
        wrong += [f"{label} for {read}"] * (read != label)
    if wrong:
        return f"This network mostly takes {', '.join(wrong)}; the others it recognises."
    return "This network recognises all of them."


def _importmap_hash() -> str:
    """Of the one script that stands in the page itself: its security policy names it."""
    page = (sources("phone") / "index.html").read_text(encoding="utf-8")
    (inline,) = re.findall(r'<script type="importmap">(.*?)</script>', page, re.S)
    return base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()


def _worker(folder: Path) -> dict:
    """What the service worker keeps, and a version that is another one if any of it is."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    contents = {name: path.read_bytes() for name, path in sorted(paths.items()) if path.is_file()}
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(name.encode() + content)
    kept = [name for name in contents if name != "sw.js" and not name.endswith(_LATE)]
    return {"version": digest.hexdigest()[:12], "files": ["./", *kept]}


def _icon(size: int) -> bytes:
    """A PNG: a step's two peaks of acceleration on a dark ground."""
    large = 4 * size  # drawn larger, so that lines are smooth
    image = Image.new("RGB", (large, large), "#0b4f7d")
    time = np.linspace(-1, 1, 400)
    wave = 0.42 * np.exp(-((time - 0.1) ** 2) / 0.12) * np.cos(9 * (time - 0.1))
    points = np.stack([0.5 + 0.34 * time, 0.52 - wave], axis=1) * large
    draw = ImageDraw.Draw(image)
    draw.line([tuple(p) for p in points], fill="white", width=large // 16, joint="curve")
    for x, y in (points[0], points[-1]):
        r = large // 32
        draw.ellipse([x - r, y - r, x + r, y + r], fill="white")
    content = io.BytesIO()
    image.resize((size, size), Image.Resampling.LANCZOS).save(content, "PNG")
    return content.getvalue()
