"""``neuro doctor``: versions, kernels, allocator, what is missing."""

import json

import torch

from neuro.kernels import explain


def test_the_machine_is_described(command):
    found = json.loads(command("doctor", "--json").out)
    assert found["schema"] == 1
    assert found["packages"]["torch"] == torch.__version__ or torch.__version__.startswith(
        found["packages"]["torch"]
    )
    assert found["threads"] == torch.get_num_threads()
    assert found["cuda"]["available"] == torch.cuda.is_available()
    assert found["malloc"] == {
        "tuned": False,
        "reason": "left alone by NEURO_MALLOC=default",
    }
    text = command("doctor").out
    for part in ("python", "torch threads", "data folder", "malloc", "gpu"):
        assert part in text


def test_every_kernel_is_explained(command):
    expected = [(row.op, row.device, row.implementation) for row in explain()]
    rows = json.loads(command("doctor", "--kernels", "--json").out)["kernels"]
    assert [(row["op"], row["device"], row["implementation"]) for row in rows] == expected
    text = command("doctor", "--kernels").out
    assert all(op in text for op, _, _ in expected)
    assert "python" not in text


def test_the_data_folder_follows_the_environment(command, monkeypatch, tmp_path):
    monkeypatch.setenv("NEURO_DATA_DIR", str(tmp_path / "here"))
    assert json.loads(command("doctor", "--json").out)["data_dir"] == str(tmp_path / "here")


def test_missing_optional_packages_come_with_the_command_that_gets_them(command, monkeypatch):
    requirements = ["torch>=2", 'tonic>=1.4; extra == "events"', 'pytest; extra == "test"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: requirements)
    found = json.loads(command("doctor", "--json").out)["optional_packages"]
    assert [(row["package"], row["extra"]) for row in found] == [("tonic", "events")]
    assert found[0]["install"] == 'pip install "neuro-snn[events]"'
