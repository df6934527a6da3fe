"""``neuro reason``: answers, arrivals and paths of a trained run."""

import json
from pathlib import Path

import pytest

GRSNN = ("--set", "method.hidden=8", "--set", "method.timesteps=8")
QUICK = ("--epochs=3", "--batch-size=4", "--set=negatives=4", "--set=threads=1", "--device=cpu")
QUIET = ("--set=tensorboard=false", "--set=plots=false")


@pytest.fixture
def trained(command, tmp_path: Path):
    """Train on a small graph of families: the relation ``g`` is ``p`` twice."""
    folder = tmp_path / "families"
    folder.mkdir()
    chain = [f"{family}{number}" for family in "abcdef" for number in range(4)]
    lines = []
    for first, second, third in zip(chain, chain[1:], chain[2:], strict=False):
        if first[0] == second[0]:
            lines.append(f"{first}\tp\t{second}")
        if first[0] == third[0]:
            lines.append(f"{first}\tg\t{third}")
    held_out = [line for line in lines if line.startswith(("e0\tg", "f1\tg"))]
    (folder / "train.txt").write_text("\n".join(set(lines) - set(held_out)) + "\n")
    (folder / "valid.txt").write_text(held_out[0] + "\n")
    (folder / "test.txt").write_text(held_out[1] + "\n")

    def train(method: str, *arguments: str) -> str:
        run = str(tmp_path / method)
        made = command(
            "train", method, "--graph", folder, *QUICK, *QUIET, *arguments, "--run-dir", run
        )
        assert made.code == 0, made.err
        return run

    return train


def test_answers_paths_and_picture_of_spikes(command, trained, tmp_path):
    run = trained("grsnn", *GRSNN)
    asked = command("reason", run, "--head", "a0", "--relation", "p", "--count", 3)
    assert asked.code == 0, asked.err
    assert asked.out.splitlines()[0].startswith("a0 -p-> ?")
    assert len(asked.out.splitlines()) >= 4
    picture = tmp_path / "why.png"
    told = command(
        "reason", run, *("--head", "a0"), *("--relation", "g"), *("--tail", "a2"),
        "--explain", "--picture", picture, "--json",
    )  # fmt: skip
    assert told.code == 0, told.err
    record = json.loads(told.out)
    assert len(record["answers"]) == 10
    assert record["query"] == {"head": "a0", "relation": "g", "inverse": False}
    assert record["explanation"]["tail"] == "a2"
    if record["explanation"]["paths"]:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert record["explanation"]["picture"] == str(picture)


def test_known_answers_can_be_left_out_on_either_side(command, trained):
    run = trained("nbfnet", "--set", "method.layers=2")

    def named(*arguments: str) -> list[str]:
        found = command("reason", run, "--count", "100", "--json", *arguments)
        assert found.code == 0, found.err
        return [each["entity"] for each in json.loads(found.out)["answers"]]

    forth = ("--head", "a0", "--relation", "p")
    assert set(named(*forth)) - set(named(*forth, "--hide-known")) == {"a1"}
    back = ("--head", "a1", "--relation", "p", "--inverse")
    assert set(named(*back)) - set(named(*back, "--hide-known")) == {"a0"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--head", "a00", "--relation", "p"), 'Did you mean "a0"'),
        (("--head", "a0", "--relation", "pp"), 'Did you mean "p"'),
        (("--head", "a0", "--relation", "p", "--tail", "a1"), "--tail says what to explain"),
        (("--head", "a0", "--relation", "p", "--count", "0"), "--count must be at least 1"),
        (("--head", "a0", "--relation", "p", "--checkpoint", "bst"), 'Did you mean "best"'),
        (("--head", "a0", "--relation", "p", "--explain"), "explain_paths is for GRSNN"),
    ],
)
def test_wrong_use_is_one_message(command, trained, arguments, message):
    run = trained("nbfnet", "--set", "method.layers=1")
    asked = command("reason", run, *arguments)
    assert asked.code in (1, 2)
    assert message in asked.err
    assert len(asked.err.strip().splitlines()) == 1


def test_there_is_no_path_from_an_entity_to_itself(command, trained):
    run = trained("grsnn", *GRSNN)
    asked = ("reason", run, "--head", "a0", "--relation", "g", "--tail", "a0", "--explain")
    result = command(*asked)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "head and tail are one entity, a0" in result.err


def test_a_classifier_cannot_be_asked(command, tmp_path):
    run = tmp_path / "r"
    made = command("train", "opzo", "--epochs=1", *QUIET, "--run-dir", run)
    assert made.code == 0, made.err
    asked = command("reason", run, "--head", "a", "--relation", "b")
    assert asked.code == 2
    assert "a classifier" in asked.err
