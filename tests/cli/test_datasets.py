"""``neuro datasets``: everything there is to know before using one."""

import json

import pytest

from neuro.data import DATASETS
from neuro.graph import GRAPHS


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


def test_every_graph_is_listed_and_looked_for(command, tmp_path):
    links = tmp_path / "planetoid" / "Cora"
    links.mkdir(parents=True)
    (links / "edges.txt").write_text("a\tb\n")
    result = json.loads(command("datasets", "--data-dir", tmp_path, "--json").out)
    records = {record["name"]: record for record in result["graphs"]}
    assert list(records) == list(GRAPHS)
    assert records["umls"]["embedded"]
    assert records["umls"]["counts"] == {
        "entities": 135, "relations": 46, "train": 5216, "valid": 652, "test": 661,
    }  # fmt: skip
    assert (records["wn18rr"]["embedded"], records["wn18rr"]["found"]) == (False, None)
    assert records["wn18rr"]["files"][0] == "WN18RR/train.txt"
    assert records["cora"]["found"] == str(links / "edges.txt")
    lines = command("datasets", "--data-dir", tmp_path).out.splitlines()
    for name, presence in (("umls", "embedded"), ("wn18rr", "no"), ("cora", "yes")):
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        assert f" {presence} " in line
        assert GRAPHS[name].source in line


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("umls", ["embedded", "135", "46", "5,216 triples", "652 triples", "661 triples"]),
        ("wn18rr", ["  present   no", "WN18RR/train.txt", "below the data folder"]),
        ("wn18rr_v1", ["630 triples", "922 entities of another graph", "1,618 facts in it"]),
    ],
)
def test_one_graph_is_told_in_full(command, tmp_path, name, parts):
    text = command("datasets", name, "--data-dir", tmp_path).out
    for part in (*parts, GRAPHS[name].citation, GRAPHS[name].source, GRAPHS[name].licence):
        assert part in text
    alone = json.loads(command("datasets", name, "--data-dir", tmp_path, "--json").out)
    assert alone["datasets"] == []
    assert [record["name"] for record in alone["graphs"]] == [name]


def test_an_unknown_name_is_met_with_the_nearest_of_either_kind(command):
    for wrong, right in (("umsl", "umls"), ("mnits", "mnist")):
        result = command("datasets", wrong)
        assert result.code == 2
        assert f'"{wrong}". Did you mean "{right}"?' in result.err
