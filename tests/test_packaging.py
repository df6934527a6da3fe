"""What is built: every tracked file of neuro, kernels and hardware, and nothing else."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import neuro

ROOT = Path(__file__).resolve().parent.parent


def git_files(*folders: str) -> list[str]:
    """Return the files under git's eye, those not yet added included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted({name for name in listed.stdout.splitlines() if (ROOT / name).is_file()})


def expected_files() -> set[str]:
    """Return where each source file must lie once installed; the two links become folders."""
    names = git_files("neuro", "kernels", "hardware")
    return {name if name.startswith("neuro/") else f"neuro/{name}" for name in names}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist, and the wheel made from it, built from a copy of the sources."""
    if not (ROOT / ".git").exists():
        pytest.skip("the list of source files comes from git, and this is no git checkout")
    copy = tmp_path_factory.mktemp("source")
    for name in git_files():
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    for link in ("kernels", "hardware"):
        os.symlink(os.readlink(ROOT / "neuro" / link), copy / "neuro" / link)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_links_are_relative():
    assert {os.readlink(ROOT / "neuro" / link) for link in ("kernels", "hardware")} == {
        "../kernels",
        "../hardware",
    }


def test_the_wheel_holds_every_source_file_and_nothing_else(built):
    with wheel(built) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected_files()


def test_the_source_distribution_holds_every_source_file(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert expected_files() <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_the_wheel_says_what_it_is(built):
    with wheel(built) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        scripts = archive.read(f"{folder}/entry_points.txt").decode()
        licence = archive.read(f"{folder}/licenses/LICENSE").decode()
    assert (metadata["Name"], metadata["Version"]) == ("neuro-snn", neuro.__version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "neuro = neuro.cli:main" in scripts
    assert "Apache License" in licence


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        lines += [line for line in extra if not line.startswith("neuro-snn[")]
    required = {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in constraints if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert required - {normal(pin.split("==")[0]) for pin in pins} == set()
