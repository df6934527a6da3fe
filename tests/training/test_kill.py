"""A real process, killed without warning at random moments and resumed until it is done."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neuro.training import train

EPOCHS = 6
SETTINGS = [
    f"--epochs={EPOCHS}",
    "--device=cpu",
    "--quiet",
    *("--set", "model.hidden=[32]"),
    *("--set", "threads=1"),
    *("--set", "checkpoint_every_steps=3"),
    *("--set", "tensorboard=false"),
    *("--set", "plots=false"),
]


def start(run: Path) -> "subprocess.Popen[str]":
    """Begin the run, or resume what is there of it."""
    began = (run / "config.json").is_file()
    arguments = ["--resume", str(run)] if began else [*SETTINGS, "opzo", "--run-dir", str(run)]
    command = [sys.executable, "-m", "neuro", "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def saved_at(run: Path) -> int:
    record = run / "checkpoints" / "last.json"
    return record.stat().st_mtime_ns if record.exists() else 0


def wait_for_training(process: "subprocess.Popen[str]", run: Path, before: int) -> None:
    deadline = time.monotonic() + 120
    while saved_at(run) == before and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.01)


def finish(run: Path) -> None:
    process = start(run)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output


def tensor_files(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.glob("checkpoints/*.safetensors")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, bytes]:
    from neuro.config import resolve_config

    assignments = [text for text in SETTINGS if "=" in text and not text.startswith("--")]
    flags = {"epochs": EPOCHS, "device": "cpu"}
    config = resolve_config("opzo", flags=flags, assignments=assignments).config
    path = tmp_path_factory.mktemp("uninterrupted") / "run"
    train(config, run_dir=path)
    return tensor_files(path)


def test_a_run_killed_in_training_and_resumed_ends_with_the_same_weights(tmp_path, uninterrupted):
    run = tmp_path / "run"
    chance = random.Random(os.urandom(8))
    killed = 0
    for _ in range(2):
        before = saved_at(run)
        process = start(run)
        wait_for_training(process, run, before)
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        output, _ = process.communicate(timeout=60)
        killed += process.returncode == -signal.SIGKILL
        assert process.returncode in (-signal.SIGKILL, 0), output
    assert killed, "every process was done before it could be killed"
    finish(run)
    assert tensor_files(run) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_a_run_killed_at_any_moment_and_resumed_ends_with_the_same_weights(
    tmp_path, uninterrupted, attempt
):
    run = tmp_path / "run"
    chance = random.Random(os.urandom(8))
    for _ in range(6):
        process = start(run)
        time.sleep(chance.uniform(0, 9))  # start-up, loading and saving are hit too
        process.kill()
        process.communicate(timeout=60)
    finish(run)
    assert tensor_files(run) == uninterrupted
