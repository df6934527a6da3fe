"""Result files: their form, and what they must not tell."""

import json

import pytest

from benchmarks.records import options_given, origin, public_command, read_result, write_result
from neuro.errors import UsageError


def test_lists_of_numbers_take_one_line_and_nothing_is_lost(tmp_path):
    record = {
        "schema": 1,
        "kind": "test",
        "curve": [0.5, -1e-7, 3, 25],
        "words": ["--set", "model.hidden=[800, 800]"],
        "nested": [[1, 2], {"a": [3.5]}],
        "text": "1, [2,\n3]",
    }
    file = tmp_path / "deep" / "record.json"
    write_result(file, record)
    text = file.read_text("utf-8")
    assert json.loads(text) == record
    assert '"curve": [ 0.5, -1e-07, 3, 25 ]' in text
    assert read_result(file, "test") == record
    assert [path.name for path in file.parent.iterdir()] == ["record.json"]


def test_the_data_folder_of_a_machine_is_not_recorded():
    words = ["neuro", "train", "opzo", "--data-dir", "/home/somebody/data", "--seed", "1"]
    assert public_command(words) == "neuro train opzo --data-dir DATA_DIR --seed 1"


def test_origin_tells_machine_versions_and_threads():
    found = origin(["python", "-m", "benchmarks.memory"], threads=3)
    assert found["command"] == "python -m benchmarks.memory"
    assert found["machine"]["threads"] == 3
    assert found["machine"]["cpu"]
    assert {"neuro", "git_commit", "python", "packages"} <= set(found["versions"])


def test_only_options_that_differ_from_the_default_are_recorded():
    def command(*, rounds: int = 20, peers: bool = False, data_dir: str | None = None) -> None: ...

    assert options_given(command, rounds=20, peers=True, data_dir=None) == ["--peers"]
    assert options_given(command, rounds=5) == ["--rounds", "5"]


@pytest.mark.parametrize("content", ["{", '{"schema": 1, "kind": "other"}', "[]"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"x\.json"):
        read_result(file, "memory")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no result file .*gone\.json"):
        read_result(tmp_path / "gone.json", "memory")
    with pytest.raises(UsageError, match=r"no result file that can be read: Is a directory"):
        read_result(tmp_path, "memory")
