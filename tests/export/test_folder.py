"""Export folders: there whole or not at all, and every damage is one error that names the file."""

import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from neuro.errors import DataError, NeuroError, UsageError
from neuro.export.folder import (
    FORMS,
    MANIFEST,
    NEEDED,
    SAMPLES,
    Folder,
    Samples,
    read_export,
    write_samples,
)

HELD = Samples({"input": np.arange(24, dtype=np.int16).reshape(2, 3, 4)}, np.array([1, 0, 2]))


def make(folder: Path, form: str = "loihi") -> Path:
    """Write a folder with every file a form has, most of them of one line."""
    with Folder(folder) as made:
        made.record |= {"to": form, "dialect" if form == "nir" else "profile": "any"}
        for name in NEEDED[form]:
            (made.path / name).parent.mkdir(exist_ok=True)
            (made.path / name).write_text(f"this is {name}\n")
        write_samples(HELD, made.path)
    return folder


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: each for name, each in record.items() if each is not None}))


def sign_again(folder: Path, name: str) -> None:
    """Give the manifest the checksum that a file has now."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change_manifest(folder, files=files)


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_is_read_as_it_was_written(tmp_path, form):
    export = read_export(make(tmp_path / "e", form))
    assert export.form == form
    assert export.manifest["version"] == 1
    assert set(export.manifest["files"]) == set(NEEDED[form])
    for name, checksum in export.manifest["files"].items():
        assert checksum == hashlib.sha256((export.folder / name).read_bytes()).hexdigest()
    samples = export.samples()
    assert len(samples) == 3
    np.testing.assert_array_equal(samples.inputs["input"], HELD.inputs["input"])
    np.testing.assert_array_equal(samples.targets, HELD.targets)
    assert os.listdir(tmp_path) == ["e"]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        make(tmp_path / "e")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "e").stat().st_mode) == 0o750


def test_the_first_samples():
    first = HELD.first(2)
    assert first.inputs["input"].shape == (2, 2, 4)
    assert first.targets.tolist() == [1, 0]
    assert len(HELD.first(None)) == 3
    for count in (0, -1, 4):
        with pytest.raises(UsageError, match=rf"--samples {count}: the export holds 1 to 3"):
            HELD.first(count)


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing_not_even_folders_above(tmp_path, failure):
    def fail() -> None:
        with Folder(tmp_path / "a" / "b" / "e") as made:
            (made.path / "half").write_text("half")
            assert len(list(tmp_path.rglob("half"))) == 1
            raise failure

    with pytest.raises(failure):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_checksums_are_made_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("neuro.export.folder._sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "a" / "e")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path):
    def fill() -> None:
        with Folder(tmp_path / "e"):
            raise OSError(28, "No space left on device")

    with pytest.raises(NeuroError, match=r"cannot write .*e: No space left on device") as caught:
        fill()
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_left_alone(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "mine").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("e", "file"):
        with pytest.raises(UsageError, match=r"exists and is not empty. Name another"):
            Folder(tmp_path / name)
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*")) == [
        "e",
        "e/mine",
        "file",
    ]


def test_a_place_taken_meanwhile_is_left_alone(tmp_path):
    def race() -> None:
        with Folder(tmp_path / "e") as made:
            (made.path / "ours").write_text("")
            (tmp_path / "e").mkdir()
            (tmp_path / "e" / "mine").write_text("precious")

    with pytest.raises(NeuroError, match=r"cannot write .*Directory not empty"):
        race()
    assert [str(each.relative_to(tmp_path)) for each in sorted(tmp_path.rglob("*"))] == [
        "e",
        "e/mine",
    ]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "e").mkdir()
    assert read_export(make(tmp_path / "e")).form == "loihi"


def test_a_place_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*--output"), Folder(tmp_path / "file/e"):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_graph_without_sources_has_samples_without_inputs(tmp_path):
    folder = make(tmp_path / "e")
    write_samples(Samples({}, np.array([5])), folder)
    sign_again(folder, SAMPLES)
    samples = read_export(folder).samples()
    assert (len(samples), samples.inputs) == (1, {})


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [(flip, "is damaged or was changed"), (cut, "is damaged or was changed"),
     (Path.unlink, "is missing")],
)  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_every_damaged_file_is_named(tmp_path, form, change, said):
    for number, name in enumerate(NEEDED[form]):
        folder = make(tmp_path / str(number), form)
        change(folder / name)
        with pytest.raises(DataError) as caught:
            read_export(folder)
        assert str(folder / name) in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_manifest(tmp_path, kept):
    path = make(tmp_path / "e") / MANIFEST
    text = path.read_text()
    path.write_text(text[: int(kept * len(text))])
    with pytest.raises(DataError, match=r"manifest\.json: damaged, not JSON"):
        read_export(tmp_path / "e")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "an export of version 2; this neuro reads version 1"),
        ({"version": None}, "not the manifest of an export"),
        ({"to": "brain"}, "made for 'brain'; expected one of loihi, lava, netx, nir"),
        ({"files": None}, "lists no files"),
        ({"files": {}}, r"does not list graph\.json"),
        ({"profile": None}, "does not say its profile"),
        ({"to": "nir"}, r"does not list network\.nir"),
    ],
)
def test_a_manifest_of_something_else(tmp_path, changes, said):
    change_manifest(make(tmp_path / "e"), **changes)
    with pytest.raises(DataError, match=said):
        read_export(tmp_path / "e")


def test_what_is_no_export(tmp_path):
    with pytest.raises(DataError, match=r"is no export: it has no manifest\.json"):
        read_export(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/manifest.json: cannot be read: Not a directory"):
        read_export(tmp_path / "file")
    (tmp_path / MANIFEST).write_text("[1, 2]")
    with pytest.raises(DataError, match="not the manifest of an export"):
        read_export(tmp_path)


def garbage(path: Path) -> None:
    path.write_text("no archive")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def no_targets(path: Path) -> None:
    np.savez(path, **{"input.input": HELD.inputs["input"]})


def other_count(path: Path) -> None:
    np.savez(path, targets=HELD.targets[:2], **{"input.input": HELD.inputs["input"]})


def objects(path: Path) -> None:
    np.savez(path, targets=np.array([None, {}]))


@pytest.mark.parametrize("change", [garbage, half, no_targets, other_count, objects])
def test_samples_that_are_none(tmp_path, change):
    """Their checksum is right; so the damage is older than the manifest."""
    folder = make(tmp_path / "e")
    change(folder / SAMPLES)
    sign_again(folder, SAMPLES)
    with pytest.raises(DataError, match=r"e/samples\.npz: .* Export again\.") as caught:
        read_export(folder).samples()
    assert "\n" not in str(caught.value)
