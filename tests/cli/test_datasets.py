"""``neuro datasets``: everything there is to know before using one."""

import json

import pytest

from neuro.data import DATASETS


def test_every_data_set_is_listed_with_licence_and_source(command, tmp_path):
    result = json.loads(command("datasets", "--data-dir", tmp_path, "--json").out)
    assert result["data_dir"] == str(tmp_path)
    records = {record["name"]: record for record in result["datasets"]}
    assert list(records) == list(DATASETS)
    assert all(record["licence"] and record["description"] for record in records.values())
    assert records["digits"]["present"]
    assert not records["mnist"]["present"]
    assert records["mnist"]["size_bytes"] > 10_000_000
    text = command("datasets", "--data-dir", tmp_path).out
    for name, entry in DATASETS.items():
        assert name in text
        assert entry.licence in text


def test_files_that_are_there_are_found(command, test_data):
    records = json.loads(command("datasets", "--data-dir", test_data, "--json").out)["datasets"]
    present = {record["name"] for record in records if record["present"]}
    assert {"digits", "mnist", "fashion-mnist"} <= present


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_one_data_set_is_told_in_full(command, name):
    text = command("datasets", name).out
    entry = DATASETS[name]
    assert entry.citation in text
    for file in entry.files:
        assert file.url in text
        assert file.checksum in text
