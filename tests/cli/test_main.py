"""What holds for every command: help, exit codes, one message on stderr."""

import os
import subprocess
import sys

import pytest

COMMANDS = ("train", "evaluate", "runs", "models", "datasets", "doctor")

CHECK_HELP = """
import sys
from neuro.cli import run
assert run(["--help"]) == 0
heavy = {"torch", "numpy", "pydantic", "matplotlib", "sklearn", "neuro.config", "neuro.data"}
loaded = heavy & set(sys.modules)
assert not loaded, loaded
"""


def test_help_names_every_command_and_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", CHECK_HELP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert name in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_each_of_its_options(command, name):
    result = command(name, "--help")
    assert result.code == 0
    assert "--json" in result.out
    # an option without a text ends its line right after its type
    lines = [line.strip(" │") for line in result.out.splitlines() if "--" in line]
    assert all(len(line.split("  ")) > 1 or len(line.split()) > 3 for line in lines), lines


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["trian"], 'Did you mean "train"?'),
        (["train", "opzo", "--epoch", "3"], "--epochs"),
        (["train", "opzo", "--lr", "fast"], "--lr"),
        (["train", "opzoo"], 'Did you mean "opzo"?'),
        (["train"], "Name a learning rule"),
        (["train", "opzo", "--dataset", "digit"], 'Did you mean "digits"?'),
        (["train", "opzo", "--set", "rule.alhpa=1"], 'Did you mean "rule.alpha"?'),
        (["train", "opzo", "--checkpoint", "best"], "--resume"),
        (["train", "opzo", "--resume", "x"], "RULE"),
        (["evaluate"], "RUN"),
        (["models", "conv6"], "conv5"),
        (["models", "--input-shape", "3x3"], "CxHxW"),
        (["models", "--set", "width=2"], "name it"),
        (["datasets", "mnits"], 'Did you mean "mnist"?'),
    ],
)
def test_wrong_use_is_exit_code_2_and_one_line(command, arguments, part):
    result = command(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("neuro: ")
    assert result.err.count("\n") == 1
    assert part in result.err


def test_a_failure_is_exit_code_1_and_one_line(command):
    result = command("evaluate", "gone")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "neuro: There is no run folder gone. `neuro runs` lists those that are there.\n"
    )


def test_an_implementation_that_cannot_serve_is_told_in_one_line(command, monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "fastest")
    result = command("train", "opzo", "--epochs", "1", "--quiet", "--device", "cpu")
    assert result.code == 1
    assert result.err.startswith("neuro: NEURO_KERNELS=fastest")


def test_the_version_is_printed(command):
    from neuro import __version__

    assert command("--version").out.strip() == __version__


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "neuro", "runs", "/nowhere"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141
