"""Result files: where they lie, what each of them states about its origin, atomic writing."""

import inspect
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from neuro.errors import UsageError
from neuro.training.checkpoint import write_atomically
from neuro.training.environment import describe_environment

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
IMAGES = REPOSITORY / "docs" / "images"
SCHEMA = 1
NUMBERS = re.compile(r"\[[\d\s.,eE+-]+\]")
"""Lists of numbers, which are written on one line."""
DATA_DIR = "DATA_DIR"
"""Stands for the folder of data sets in recorded commands: it differs between machines."""

MACHINE = ("platform", "machine", "cpu", "cpus", "threads")
VERSIONS = ("neuro", "git_commit", "python", "packages")


def origin(command: Sequence[str], *, threads: int | None = None) -> dict[str, Any]:
    """Return what every result file opens with: layout version, command, date, machine, versions.

    Args:
        command: what makes the file again; see :func:`public_command`.
        threads: CPU threads of the measurement; None for torch's number in this process.
    """
    found = describe_environment(torch.device("cpu"))
    found["threads"] = threads or found["threads"]
    return {
        "schema": SCHEMA,
        "command": public_command(command),
        "date": found["time"],
        "machine": {key: found[key] for key in MACHINE},
        "versions": {key: found[key] for key in VERSIONS},
    }


def public_command(command: Sequence[str]) -> str:
    """Return a command as one shell line, with the data folder written as ``DATA_DIR``."""
    words = list(command)
    for index, word in enumerate(words[:-1]):
        if word == "--data-dir":
            words[index + 1] = DATA_DIR
    return shlex.join(words)


def options_given(function: Callable[..., Any], **values: Any) -> list[str]:
    """Return the options of a command whose values are not its defaults, as words."""
    words: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        value = values.get(name, parameter.default)
        if value == parameter.default:
            continue
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    return words


def write_result(file: Path, record: dict[str, Any]) -> None:
    """Write a result file so that its name always holds a whole one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)
    text = NUMBERS.sub(lambda found: " ".join(found[0].split()), text)
    write_atomically(file, (text + "\n").encode())


def read_result(file: Path, kind: str) -> dict[str, Any]:
    """Read a result file.

    Raises:
        UsageError: it is missing, damaged, of another kind, or of another layout.
    """
    try:
        record = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no result file {file}; run the benchmark first.") from None
    except OSError as error:
        raise UsageError(f"{file} is no result file that can be read: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"{file} is not valid JSON: {error}.") from None
    found = (record.get("schema"), record.get("kind")) if isinstance(record, dict) else None
    if found != (SCHEMA, kind):
        raise UsageError(
            f"{file} holds schema and kind {found}, expected {(SCHEMA, kind)}. "
            "Make it again with the benchmark of this version."
        )
    result: dict[str, Any] = record
    return result
