import io
import tarfile
import zipfile

import pytest

from neuro.data.events.archive import open_archive
from neuro.errors import DataError

FILES = {"b/2.bin": b"two", "a/1.bin": b"one", "read.txt": b"me"}


def make(kind, tmp_path):
    if kind == "folder":
        for name, data in FILES.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(data)
        return open_archive(tmp_path / "set")
    path = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.mkdir("a")
            for name, data in FILES.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as packed:
            for name, data in FILES.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                packed.addfile(member, io.BytesIO(data))
    return open_archive(path, "Get it again.")


@pytest.fixture(params=["folder", "zip", "tar.gz"])
def archive(request, tmp_path):
    return make(request.param, tmp_path)


def test_names_are_sorted_and_contents_are_read_by_name(archive):
    assert archive.names() == ["a/1.bin", "b/2.bin", "read.txt"]
    assert dict(archive.read(lambda name: True)) == FILES
    assert list(archive.read(lambda name: name.startswith("b"))) == [("b/2.bin", b"two")]


def test_the_fingerprint_changes_with_the_files(archive):
    before = archive.fingerprint()
    assert archive.fingerprint() == before
    if archive.path.is_dir():
        (archive.path / "a" / "1.bin").write_bytes(b"changed")
    else:
        archive.path.write_bytes(archive.path.read_bytes() + b"\0")
    assert archive.fingerprint() != before


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_damaged_archive_is_an_error_that_names_it(kind, tmp_path):
    archive = make(kind, tmp_path)
    data = archive.path.read_bytes()
    archive.path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"set\..*cannot be read .* Get it again\.$"):
        list(archive.read(lambda name: True))
    with pytest.raises(DataError, match=r"set\..*cannot be read"):
        archive.names()
