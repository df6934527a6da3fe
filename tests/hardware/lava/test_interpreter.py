"""Which Python has Lava: the named one or an error, else the first that has it."""

import stat
import sys
from pathlib import Path

import pytest

from neuro.hardware.lava import interpreter
from neuro.hardware.lava.interpreter import VARIABLE, LavaMissingError, find_interpreter


def python(folder: Path, lava: str = '"0.10.0"') -> Path:
    """Make an executable that tells of a Python with lava-nc."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python"
    path.write_text(f"""#!/bin/sh\necho '["3.10.13", {lava}, null, "1.26.4"]'\n""")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No Lava: neither named, nor beside an environment, nor in a checkout, nor here."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(interpreter, "__file__", str(tmp_path / "checkout/hardware/lava/x.py"))
    monkeypatch.setattr(interpreter, "find_spec", lambda name: None)


def test_without_lava_the_error_says_where_it_was_sought_and_how_to_get_it(tmp_path):
    with pytest.raises(LavaMissingError) as caught:
        find_interpreter()
    for part in (
        str(tmp_path / "environment-lava/bin/python"),
        str(tmp_path / "checkout/.venv-lava/bin/python"),
        sys.executable,
        "make lava",
        VARIABLE,
        "--lava-python",
    ):
        assert part in str(caught.value)


def test_the_environment_beside_comes_before_the_checkout(tmp_path):
    inside = python(tmp_path / "checkout/.venv-lava/bin")
    found = find_interpreter()
    assert (found.path, found.chosen_by) == (inside, "in the checkout of neuro")
    beside = python(tmp_path / "environment-lava/bin")
    found = find_interpreter()
    assert (found.path, found.python, found.lava) == (beside, "3.10.13", "0.10.0")
    assert (found.lava_dl, found.numpy) == (None, "1.26.4")


def test_one_without_lava_is_passed_over(tmp_path):
    python(tmp_path / "environment-lava/bin", lava="null")
    inside = python(tmp_path / "checkout/.venv-lava/bin")
    assert find_interpreter().path == inside


def test_the_named_one_wins_and_must_have_lava(tmp_path, monkeypatch):
    by_variable, named = python(tmp_path / "a"), python(tmp_path / "b")
    monkeypatch.setenv(VARIABLE, str(by_variable))
    assert find_interpreter().chosen_by == f"by {VARIABLE}"
    assert find_interpreter(named).path == named
    python(tmp_path / "b", lava="null")
    with pytest.raises(LavaMissingError, match="chosen as named, has no lava-nc"):
        find_interpreter(named)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(LavaMissingError, match=f"chosen by {VARIABLE}, is not there"):
        find_interpreter()
