"""Checkpoints: tensors as safetensors, the rest as JSON; nothing pickled is written or read.

A checkpoint ``last`` is two files::

    last.json                     format version, config fingerprint, position, name + SHA-256 of:
    last-00000120.safetensors     every tensor

The tensors are written first, under a name of their own; then the JSON is replaced in one rename;
then the tensors of the checkpoint before are removed. Whenever the process dies, ``last.json``
names a complete file whose checksum holds.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from neuro.errors import CheckpointError, nearest

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A moment of training.

    Args:
        fingerprint: of the configuration it belongs to.
        step: batches done; names the tensor file.
        tensors: by name, e.g. ``network/linear1.weight``.
        state: plain JSON values: position, running sums, optimiser settings.
    """

    fingerprint: str
    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def save_checkpoint(folder: Path, name: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing the one of that name.

    Raises:
        CheckpointError: the disk is full, or the folder cannot be written.
    """
    tensor_file = f"{name}-{checkpoint.step:08d}.safetensors"
    payload = save_tensors(
        {key: _plain(value) for key, value in checkpoint.tensors.items()},
        metadata={"format_version": str(FORMAT_VERSION)},
    )
    record = {
        "format_version": FORMAT_VERSION,
        "config_fingerprint": checkpoint.fingerprint,
        "step": checkpoint.step,
        "tensors": tensor_file,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "state": dict(checkpoint.state),
    }
    text = json.dumps(record, indent=1, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / tensor_file, payload)
        write_atomically(folder / f"{name}.json", text.encode())
        for old in folder.glob(f"{name}-*.safetensors"):
            if old.name != tensor_file:
                old.unlink()
    except OSError as error:
        raise CheckpointError(
            f"Cannot write checkpoint {folder / name}: {error.strerror}. "
            "The checkpoint before it is still whole."
        ) from error


def load_checkpoint(folder: Path, name: str, *, fingerprint: str | None = None) -> Checkpoint:
    """Read a checkpoint and check it whole.

    Args:
        folder: the ``checkpoints`` folder of a run.
        name: ``last``, ``best`` or another that is there.
        fingerprint: of the configuration it must belong to; None accepts any.

    Raises:
        CheckpointError: it is missing, damaged, of another format or another configuration. The
            message names the file and the other checkpoints that are there.
    """
    record_file = folder / f"{name}.json"
    others = [other for other in checkpoint_names(folder) if other != name]
    if not record_file.is_file():
        raise CheckpointError(
            f'There is no checkpoint "{name}" in {folder}.{nearest(name, others)} '
            + (f"There are: {', '.join(others)}." if others else "The run has saved none yet.")
        )
    record = _read_record(record_file, others)
    tensor_file = folder / str(record["tensors"])
    try:
        payload = tensor_file.read_bytes()
    except OSError as error:
        raise _damaged(tensor_file, error.strerror or "cannot be read", others) from None
    if hashlib.sha256(payload).hexdigest() != record["sha256"]:
        raise _damaged(
            tensor_file, f"its checksum differs from the one in {record_file.name}", others
        )
    try:
        tensors = load_tensors(payload)
    except SafetensorError as error:
        raise _damaged(tensor_file, f"not a safetensors file ({error})", others) from None
    if fingerprint is not None and record["config_fingerprint"] != fingerprint:
        raise CheckpointError(
            f"{record_file} belongs to another configuration than the run's config.json: "
            "one of the two was changed. Restore config.json, or start a new run."
        )
    return Checkpoint(
        str(record["config_fingerprint"]), int(record["step"]), tensors, record["state"]
    )


def checkpoint_names(folder: Path) -> list[str]:
    """Return the checkpoints of a folder by name."""
    return sorted(file.stem for file in folder.glob("*.json"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that at any moment its name holds the old content or the new, never a part.

    Raises:
        OSError: as the system gives it; the temporary file is removed.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_record(file: Path, others: list[str]) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(file, f"not readable JSON ({error})", others) from None
    keys = {"format_version", "config_fingerprint", "step", "tensors", "sha256", "state"}
    if not isinstance(record, dict) or not keys <= set(record):
        raise _damaged(file, "not a checkpoint record", others)
    if record["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{file} has checkpoint format {record['format_version']}, this version of neuro reads "
            f"format {FORMAT_VERSION}. Use the version named in the run's environment.json."
        )
    return record


def _damaged(file: Path, reason: str, others: list[str]) -> CheckpointError:
    run = file.parent.parent
    way_out = (
        "Others of this run: "
        + "; ".join(f"neuro train --resume {run} --checkpoint {other}" for other in others)
        if others
        else "The run has no other checkpoint"
    )
    return CheckpointError(f"Checkpoint file {file} is damaged: {reason}. {way_out}.")


def _plain(tensor: Tensor) -> Tensor:
    """safetensors wants contiguous tensors that share no storage."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def torch_random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's global generators, for modules that draw from them."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_torch_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Undo :func:`torch_random_state`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
