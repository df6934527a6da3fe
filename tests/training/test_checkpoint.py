"""Checkpoints are whole or not there, and say so."""

import json
import os

import pytest
import torch

from neuro.errors import CheckpointError
from neuro.training import checkpoint as module
from neuro.training.checkpoint import (
    Checkpoint,
    checkpoint_names,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)


def made(step: int = 3) -> Checkpoint:
    shared = torch.randn(4, 5)
    tensors = {
        "network/a": shared,
        "network/same storage": shared[1:],
        "network/not contiguous": torch.randn(3, 7).t(),
        "rule/count": torch.tensor(step),
        "rule/double": torch.tensor([0.1], dtype=torch.float64),
        "random/cpu": torch.get_rng_state(),
        "empty": torch.zeros(0, 3),
    }
    state = {"totals": {"loss": 0.1 + 0.2}, "best": None, "list": [1, 2]}
    return Checkpoint("f" * 64, step, tensors, state)


def test_everything_comes_back_bit_for_bit(tmp_path):
    saved = made()
    save_checkpoint(tmp_path / "c", "last", saved)
    loaded = load_checkpoint(tmp_path / "c", "last", fingerprint="f" * 64)
    assert loaded.state == saved.state
    assert (loaded.step, loaded.fingerprint) == (saved.step, saved.fingerprint)
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_a_new_checkpoint_replaces_the_old_one_of_that_name_only(tmp_path):
    save_checkpoint(tmp_path, "best", made(1))
    save_checkpoint(tmp_path, "last", made(1))
    save_checkpoint(tmp_path, "last", made(2))
    assert checkpoint_names(tmp_path) == ["best", "last"]
    assert sorted(file.name for file in tmp_path.glob("*.safetensors")) == [
        "best-00000001.safetensors",
        "last-00000002.safetensors",
    ]
    assert load_checkpoint(tmp_path, "last").step == 2
    assert load_checkpoint(tmp_path, "best").step == 1


@pytest.mark.parametrize("failing", [1, 2], ids=["tensors", "record"])
def test_a_save_that_fails_leaves_the_one_before_whole(tmp_path, monkeypatch, failing):
    save_checkpoint(tmp_path, "last", made(1))
    calls = []
    replace = os.replace

    def fail(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(tmp_path, "last", made(2))
    monkeypatch.undo()
    assert load_checkpoint(tmp_path, "last").step == 1
    assert not list(tmp_path.glob(".*"))
    save_checkpoint(tmp_path, "last", made(2))
    assert len(list(tmp_path.iterdir())) == 2


def truncate(folder):
    file = next(folder.glob("last-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    return file


def flip_a_bit(folder):
    file = next(folder.glob("last-*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return file


def remove_tensors(folder):
    file = next(folder.glob("last-*.safetensors"))
    file.unlink()
    return file


def cut_record(folder):
    file = folder / "last.json"
    file.write_text(file.read_text()[:40])
    return file


def empty_record(folder):
    file = folder / "last.json"
    file.write_text("{}")
    return file


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, remove_tensors, cut_record, empty_record])
def test_damage_is_named_with_the_way_out(tmp_path, damage):
    folder = tmp_path / "run" / "checkpoints"
    save_checkpoint(folder, "best", made(1))
    save_checkpoint(folder, "last", made(2))
    file = damage(folder)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder, "last")
    message = str(caught.value)
    assert str(file) in message
    assert "damaged" in message
    assert f"neuro train --resume {tmp_path / 'run'} --checkpoint best" in message
    assert load_checkpoint(folder, "best").step == 1


def test_a_missing_checkpoint_names_those_that_are_there(tmp_path):
    save_checkpoint(tmp_path, "last", made())
    with pytest.raises(CheckpointError, match=r'no checkpoint "lst".*Did you mean "last"'):
        load_checkpoint(tmp_path, "lst")
    with pytest.raises(CheckpointError, match="has saved none yet"):
        load_checkpoint(tmp_path / "nowhere", "last")


def test_another_configuration_is_refused(tmp_path):
    save_checkpoint(tmp_path, "last", made())
    with pytest.raises(CheckpointError, match="another configuration"):
        load_checkpoint(tmp_path, "last", fingerprint="0" * 64)


def test_another_format_is_refused(tmp_path):
    save_checkpoint(tmp_path, "last", made())
    record = json.loads((tmp_path / "last.json").read_text())
    record["format_version"] = 99
    (tmp_path / "last.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(tmp_path, "last")


def test_a_file_is_replaced_whole_with_ordinary_permissions(tmp_path):
    file = tmp_path / "a"
    file.write_text("old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]
    reference = tmp_path / "b"
    reference.write_text("x")
    assert file.stat().st_mode == reference.stat().st_mode
