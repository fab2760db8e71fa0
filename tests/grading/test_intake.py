import io
import os
import stat
import tarfile
import zipfile

import pytest

from labkit.grading import GradingError, intake, unpacking
from labkit.grading.intake import Handed
from labkit.grading.unpacking import Limits


def a_zip(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def read(path, *models, **limits):
    return unpacking.read(Handed("x", "x", (path,)), models, Limits(**limits))


def found(folder):
    """What is read of each submission in a folder, by the student's name."""
    handed, _ = intake.find(folder)
    return {each.name: unpacking.read(each) for each in handed}


def test_folders_and_zips_are_submissions(tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "q1.ipynb").write_text("{}")
    (tmp_path / "bob.zip").write_bytes(a_zip({"work/q1.ipynb": "{}", "__MACOSX/._q1": "x"}))
    (tmp_path / ".DS_Store").write_text("")
    (tmp_path / "notes.txt").write_text("")
    handed, left_out = intake.find(tmp_path)
    ann, bob = map(unpacking.read, handed)
    assert left_out == ["notes.txt"]
    assert [each.id for each in handed] == ["ann", "bob"]
    assert (list(ann.files), list(bob.files)) == (["q1.ipynb"], ["work/q1.ipynb"])


def test_canvas_names_are_gathered_by_student(tmp_path):
    for name in (
        "doejane_LATE_4711_901_q1.ipynb",
        "doejane_4711_902_model-1.tflite",
        "roejim_4712_903_q1.ipynb",
    ):
        (tmp_path / name).write_text("{}")
    jane, jim = intake.find(tmp_path)[0]
    assert (jane.id, jane.name, jane.late) == ("4711", "doejane", True)
    (first, *_) = unpacking.read(jane, ("model.tflite",)).named("model.tflite")
    assert first.path == "model-1.tflite" and not jim.late


@pytest.mark.parametrize(
    ("name", "student", "number"),
    [
        ("doe_jane_4711_12_q1.ipynb", "doe_jane", "4711"),
        ("Jane Doe_4711_assignsubmission_file_q1.ipynb", "Jane Doe", "4711"),
        ("Jane Doe_4711_assignsubmission_file_/q1.ipynb", "Jane Doe", "4711"),
        ("4711-9 - Jane Doe - Oct 3, 2025 1045 AM - q1.ipynb", "Jane Doe", "4711"),
        ("4711-9 - Jane Doe - 3 October, 2025 1045/q1.ipynb", "Jane Doe", "4711"),
        ("jane.ipynb", "jane", "jane"),
        ("jane.IPYNB.txt", "jane", "jane"),
    ],
)
def test_names_of_platforms_and_loose_notebooks_are_understood(tmp_path, name, student, number):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    ((handed,), _) = intake.find(tmp_path)
    assert (handed.name, handed.id) == (student, number) and len(unpacking.read(handed).files) == 1


def test_a_number_that_two_names_share_is_no_students(tmp_path):
    for name in ("ann_1_2_q1.ipynb", "bob_1_3_q1.ipynb"):
        (tmp_path / name).write_text("{}")
    assert sorted(found(tmp_path)) == ["ann", "bob"]


@pytest.mark.parametrize("name", ["hw.7z", "hw.rar", "hw.tar.zst"])
def test_archives_that_are_not_opened_are_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"7z")
    (submission,) = found(tmp_path).values()
    assert list(submission.unread) == [name] and "a zip would be" in submission.problems[0]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_are_opened(tmp_path, mode):
    name = "hw.tar" + mode[1:].replace(":", ".")
    with tarfile.open(tmp_path / name, mode) as archive:
        for member, kind in (
            ("hw/q1.ipynb", tarfile.REGTYPE),
            ("../q2.ipynb", tarfile.REGTYPE),
            ("q3.ipynb", tarfile.SYMTYPE),
        ):
            info = tarfile.TarInfo(member)
            info.size, info.type, info.linkname = 2 * (kind == tarfile.REGTYPE), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(b"{}"))
    submission = read(tmp_path / name)
    assert list(submission.files) == ["hw/q1.ipynb"] and len(submission.problems) == 2
    assert read(tmp_path / name, total_bytes=2000).files == {}


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/evil", "C:\\evil.txt", "..\\evil.txt"]
)
def test_paths_that_lead_outside_are_refused(tmp_path, name):
    path = tmp_path / "x.zip"
    path.write_bytes(a_zip({name: "evil", "good.ipynb": "good"}))
    submission = read(path)
    assert list(submission.files) == ["good.ipynb"]
    assert "leads outside" in submission.problems[0]


def test_links_are_refused(tmp_path):
    info = zipfile.ZipInfo("passwords.ipynb")
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
    os.mkfifo(tmp_path / "pipe.ipynb")
    assert "no regular file" in read(tmp_path).problems[0]


def test_a_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(a_zip({"m.tflite": bytes(3_000_000), "good.ipynb": "good"}))
    assert path.stat().st_size < 10_000
    submission = read(path, "m.tflite", file_bytes=1_000_000)
    assert list(submission.files) == ["good.ipynb"] and "larger than" in submission.problems[0]
    path.write_bytes(a_zip({f"{i}.ipynb": bytes(400_000) for i in range(5)}))
    assert len(read(path, total_bytes=1_000_000).files) == 2


def test_a_size_that_lies_is_found_out(tmp_path):
    content = a_zip({"bomb.ipynb": b"1" * 5000}, zipfile.ZIP_STORED)
    content = content.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "x.zip").write_bytes(content)
    submission = read(tmp_path / "x.zip")
    assert submission.files == {} and submission.unread and submission.problems


def test_what_is_wanted_is_read_whatever_else_there_is(tmp_path):
    """Neither litter nor data uses up the limits, and one line tells of all that was refused."""
    members = {f"venv/lib/n{i}.ipynb": "" for i in range(20)}
    members |= {"my env/pyvenv.cfg": ""} | {f"my env/x{i}.ipynb": "" for i in range(20)}
    members |= {f".git/{i}.ipynb": "" for i in range(20)} | {f"d{i}.csv": "1" for i in range(20)}
    members |= {"__MACOSX/._q1.ipynb": "", ".ipynb_checkpoints/q1-checkpoint.ipynb": "old"}
    (tmp_path / "x.zip").write_bytes(a_zip(members | {"q1.ipynb": "{}", "m.tflite": "m"}))
    submission = read(tmp_path / "x.zip", "m.tflite", files=4)
    assert sorted(submission.files) == ["m.tflite", "q1.ipynb"] and len(submission.problems) == 1
    assert "'d0.csv', 'd1.csv', 'd2.csv' and 17 more" in submission.problems[0]
    (tmp_path / "x.zip").write_bytes(a_zip({f"{i}.ipynb": "" for i in range(10)}))
    submission = read(tmp_path / "x.zip", files=4)
    assert len(submission.files) == 4 and len(submission.problems) == 1


def test_a_kept_copy_counts_only_alone(tmp_path):
    (tmp_path / "x.zip").write_bytes(a_zip({".ipynb_checkpoints/q1-checkpoint.ipynb": "{}"}))
    assert len(read(tmp_path / "x.zip").files) == 1


@pytest.mark.parametrize(
    "damage",
    [lambda c: c[:40], lambda c: b"PK" + bytes(60), lambda c: c[:60] + b"\xff" * 40 + c[100:]],
)
@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damaged_zips_are_told(tmp_path, damage, kind):
    (tmp_path / "x.zip").write_bytes(damage(a_zip({"good.ipynb": os.urandom(200)}, kind)))
    submission = read(tmp_path / "x.zip")
    assert submission.files == {} and "damaged" in submission.problems[0] and submission.unread


def test_a_damaged_member_costs_the_others_nothing(tmp_path):
    content = bytearray(a_zip({"a.ipynb": os.urandom(500), "q1.ipynb": "{}"}))
    content[60:90] = bytes(30)
    (tmp_path / "x.zip").write_bytes(content)
    submission = read(tmp_path / "x.zip")
    assert list(submission.files) == ["q1.ipynb"] and list(submission.unread) == ["a.ipynb"]


def test_a_zip_in_a_zip_is_opened_as_far_as_people_go(tmp_path):
    content = a_zip({"q1.ipynb": "{}"})
    for depth in range(1, 5):
        (tmp_path / "x.zip").write_bytes(content)
        submission = read(tmp_path / "x.zip")
        assert bool(submission.files) == (depth <= 3) != bool(submission.unread)
        content = a_zip({"inner.zip": content})


def test_two_archives_of_a_student_keep_both_notebooks(tmp_path):
    for name in ("doe_1_12_hw.zip", "doe_1_15_hw-1.zip"):
        (tmp_path / name).write_bytes(a_zip({"q1.ipynb": name}))
    files = found(tmp_path)["doe"].named("q1.ipynb")
    assert [file.content for file in files] == [b"doe_1_15_hw-1.zip", b"doe_1_12_hw.zip"]


@pytest.mark.skipif(os.name != "posix", reason="names are text on this system")
def test_names_of_any_bytes_and_deep_folders_are_taken(tmp_path):
    folder = tmp_path / "x"
    (folder / "/".join("abcdefghij")).mkdir(parents=True)
    (folder / "/".join("abcdefghij") / "q1.ipynb").write_text("{}")
    with open(os.fsencode(folder) + b"/L\xf6sung.ipynb", "w") as stream:
        stream.write("{}")
    submission = read(folder)
    assert len(submission.files) == 2
    assert all(path.encode() for path in submission.files)


def test_names_become_safe_folders():
    for name in ("<img src=x onerror=alert(1)>", "a\nb", "../..", "", "é" * 300, "a b", "a_b"):
        slug = Handed(name, name, ()).slug
        assert slug and slug.isascii() and not set(slug) & set("/\\\n<> ") and slug[0] != "."
    assert Handed("a b", "", ()).slug != Handed("a_b", "", ()).slug


def test_the_latest_file_of_a_name_is_taken(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "Q1.ipynb").write_text("old")
    (tmp_path / "q1 (2).ipynb").write_text("new")
    (tmp_path / "q1.ipynb").write_text("older")
    assert read(tmp_path).named("q1.ipynb")[0].path == "q1 (2).ipynb"
    assert not read(tmp_path).named("q2.ipynb")


def test_no_submissions(tmp_path):
    with pytest.raises(GradingError, match="holds no submissions"):
        intake.find(tmp_path)
    with pytest.raises(GradingError, match="is not a folder"):
        intake.find(tmp_path / "nowhere")
