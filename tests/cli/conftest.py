"""Run commands in this process: exit code, stdout and stderr."""

from typing import NamedTuple

import pytest

import neuro.cli


class Result(NamedTuple):
    code: int
    out: str
    err: str


TINY = [
    "--epochs=1",
    "--batch-size=128",
    "--device=cpu",
    *("--set", "model.hidden=[16]"),
    *("--set", "threads=1"),
    *("--set", "tensorboard=false"),
    *("--set", "plots=false"),
]


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Call ``command("train", "opzo")`` in an empty working folder, without tuning malloc."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURO_MALLOC", "default")

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = neuro.cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def train_tiny(command):
    """Train one epoch in a second; further arguments are added."""

    def train(*arguments: object) -> Result:
        return command("train", *TINY, *arguments)

    return train
