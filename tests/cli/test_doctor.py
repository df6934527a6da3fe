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


def test_lava_is_there_or_comes_with_the_command_that_gets_it(command, monkeypatch, tmp_path):
    monkeypatch.setenv("NEURO_LAVA_PYTHON", str(tmp_path / "python"))
    found = json.loads(command("doctor", "--json").out)["lava"]
    assert found["version"] is None
    assert "make lava" in found["reason"]
    (tmp_path / "python").write_text(
        """#!/bin/sh\necho '["3.10.13", "0.10.0", null, "1.26.4"]'\n""", encoding="utf-8"
    )
    (tmp_path / "python").chmod(0o755)
    assert json.loads(command("doctor", "--json").out)["lava"] == {
        "version": "0.10.0",
        "lava_dl": None,
        "numpy": "1.26.4",
        "python": "3.10.13",
        "interpreter": str(tmp_path / "python"),
        "chosen_by": "by NEURO_LAVA_PYTHON",
    }
    text = command("doctor").out
    assert "0.10.0, no lava-dl, so no netx, numpy 1.26.4, python 3.10.13" in text


def test_readers_of_nir_are_there_or_come_with_the_command_that_gets_them(
    command, monkeypatch, tmp_path
):
    monkeypatch.setenv("NEURO_NIR_READERS", str(tmp_path / "python"))
    found = json.loads(command("doctor", "--json").out)["nir_readers"]
    names = ("norse", "snntorch", "spikingjelly", "sinabs")
    assert found["versions"] == dict.fromkeys(names)
    assert "make nir-readers" in found["reason"]
    text = command("doctor").out
    assert "missing: norse, snntorch, spikingjelly, sinabs; Run `make nir-readers`" in text
    said = json.dumps({**dict.fromkeys(names, "1.2"), "sinabs": None})
    (tmp_path / "python").write_text(f"#!/bin/sh\necho '{said}'\n", encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    text = command("doctor").out
    where = f"{tmp_path / 'python'} (by NEURO_NIR_READERS)"
    assert f"norse 1.2, snntorch 1.2, spikingjelly 1.2: {where}; missing: sinabs; Run" in text
    (tmp_path / "python").write_text(f"#!/bin/sh\necho '{said}'\n".replace("null", '"3"'))
    found = json.loads(command("doctor", "--json").out)["nir_readers"]
    assert found == {
        "versions": {**dict.fromkeys(names, "1.2"), "sinabs": "3"},
        "interpreter": str(tmp_path / "python"),
        "chosen_by": "by NEURO_NIR_READERS",
    }
    assert f"sinabs 3: {where}\n" in command("doctor").out
