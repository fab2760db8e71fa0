import io
import os
import stat
import zipfile

import pytest

from labkit.grading import GradingError, intake
from labkit.grading.intake import Handed, IntakeLimits


def a_zip(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def read(path, **limits):
    return intake.read(Handed("x", "x", (path,)), IntakeLimits(**limits))


def test_folders_and_zips_are_submissions(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "q1.ipynb").write_text("{}")
    (tmp_path / "bob.zip").write_bytes(a_zip({"work/q1.ipynb": "{}", "__MACOSX/._q1": "x"}))
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "notes.txt").write_text("")
    ann, bob = map(intake.read, intake.find(tmp_path))
    assert (ann.id, list(ann.files)) == ("ann", ["q1.ipynb"])
    assert (bob.id, list(bob.files)) == ("bob", ["work/q1.ipynb"])


def test_canvas_names_are_gathered_by_student(tmp_path):
    for name in (
        "doejane_LATE_4711_901_q1.ipynb",
        "doejane_4711_902_model-1.tflite",
        "roejim_4712_903_q1.ipynb",
    ):
        (tmp_path / name).write_text("{}")
    jane, jim = map(intake.read, intake.find(tmp_path))
    assert (jane.id, jane.name, jane.late) == ("4711", "doejane", True)
    assert jane.find("model.tflite") == "model-1.tflite" and not jim.late


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/evil", "C:\\evil.txt", "..\\evil.txt"]
)
def test_paths_that_lead_outside_are_refused(tmp_path, name):
    path = tmp_path / "x.zip"
    path.write_bytes(a_zip({name: "evil", "good.txt": "good"}))
    submission = read(path)
    assert list(submission.files) == ["good.txt"]
    assert "leads outside" in submission.problems[0]


def test_links_are_refused(tmp_path):
    info = zipfile.ZipInfo("passwords")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    (tmp_path / "x.zip").write_bytes(a_zip({info: "/etc/passwd"}))
    assert read(tmp_path / "x.zip").files == {}
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path / "secret", folder / "link.tflite")
    os.symlink(tmp_path, folder / "all")
    submission = read(folder)
    assert submission.files == {} and len(submission.problems) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in read(tmp_path).problems[0]


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(a_zip({"bomb": bytes(3_000_000), "good.txt": "good"}))
    assert path.stat().st_size < 10_000
    submission = read(path, file_bytes=1_000_000)
    assert list(submission.files) == ["good.txt"] and "larger than" in submission.problems[0]
    many = a_zip({f"{i}": bytes(400_000) for i in range(5)})
    path.write_bytes(many)
    assert len(read(path, total_bytes=1_000_000).files) == 2


def test_a_size_that_lies_is_found_out(tmp_path):
    content = a_zip({"bomb": b"1" * 5000}, zipfile.ZIP_STORED)
    content = content.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "x.zip").write_bytes(content)
    submission = read(tmp_path / "x.zip")
    assert submission.files.get("bomb", b"") != b"1" * 5000 and submission.problems


def test_too_many_files(tmp_path):
    (tmp_path / "x.zip").write_bytes(a_zip({f"{i}.txt": "" for i in range(10)}))
    assert len(read(tmp_path / "x.zip", files=4).files) == 4
    assert "holds 10 files: refused" in read(tmp_path / "x.zip", files=0).problems[0]


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[:40], lambda c: b"PK" + bytes(60), lambda c: c[:60] + b"\xff" * 40 + c[100:]],
)
def test_damaged_zips_are_told(tmp_path, damage):
    (tmp_path / "x.zip").write_bytes(damage(a_zip({"good.txt": os.urandom(200)})))
    submission = read(tmp_path / "x.zip")
    assert submission.files == {} and "damaged" in submission.problems[0]


def test_a_zip_in_a_zip_is_not_opened(tmp_path):
    (tmp_path / "x.zip").write_bytes(a_zip({"inner.zip": a_zip({"a": "b"})}))
    assert "zip inside a zip" in read(tmp_path / "x.zip").problems[0]


def test_names_become_safe_folders():
    for name in ("<img src=x onerror=alert(1)>", "a\nb", "../..", "", "é" * 300, "a b", "a_b"):
        slug = Handed(name, name, ()).slug
        assert slug and slug.isascii() and not set(slug) & set("/\\\n<> ") and slug[0] != "."
    assert Handed("a b", "", ()).slug != Handed("a_b", "", ()).slug


def test_the_nearest_file_of_a_name_is_taken(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "Q1.ipynb").write_text("old")
    (tmp_path / "q1 (2).ipynb").write_text("new")
    assert read(tmp_path).find("q1.ipynb") == "q1 (2).ipynb"
    assert read(tmp_path).find("q2.ipynb") is None


def test_the_digest_covers_names_and_contents(tmp_path):
    digests = set()
    for name, content in (("a", "1"), ("a", "2"), ("b", "1")):
        folder = tmp_path / (name + content)
        folder.mkdir()
        (folder / name).write_text(content)
        digests.add(read(folder).digest)
    assert len(digests) == 3


def test_no_submissions(tmp_path):
    with pytest.raises(GradingError, match="holds no submissions"):
        intake.find(tmp_path)
    with pytest.raises(GradingError, match="is not a folder"):
        intake.find(tmp_path / "nowhere")
