"""Graph runs from the command line: train, resume, evaluate, list; and bad input."""

import json
import shutil
from pathlib import Path

import pytest

from neuro.training import RunDirectory

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "json-output.md"
TINY = [
    "--epochs=2",
    "--batch-size=4",
    "--device=cpu",
    *("--set", "method.hidden=8"),
    *("--set", "method.layers=2"),
    *("--set", "method.aggregate=sum"),
    *("--set", "negatives=4"),
    *("--set", "threads=1"),
    *("--set", "tensorboard=false"),
    *("--set", "plots=false"),
]
RANKING = ("mrr", "mr", "hits_at_1", "hits_at_3", "hits_at_10")
COMMON = {
    "best_validation_epoch",
    "train_accuracy",
    "train_loss",
    "epochs",
    "seed",
    "parameters",
    "training_seconds",
    "samples_per_second",
}


@pytest.fixture
def train_graph(command, graphs):
    """Train two short epochs on one of the tiny graphs; further arguments are added."""

    def train(graph: str, *arguments: object):
        return command("train", "nbfnet", "--graph", graphs / graph, *TINY, *arguments)

    return train


def test_json_is_one_object_with_the_documented_keys(train_graph):
    result = train_graph("ring", "--json", "--run-dir", "r")
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert (record["run"], record["method"], record["dataset"], record["model"]) == (
        "r",
        "nbfnet",
        "ring",
        "nbfnet",
    )
    ranking = {f"{name}{suffix}" for name in RANKING for suffix in ("", "_realistic")}
    assert set(record["metrics"]) == (
        ranking
        | {f"{name}_best_validation" for name in ranking}
        | {"best_validation_mrr", "validation_mrr"}
        | COMMON
    )
    assert record["schema"] == 1
    assert record == json.loads(Path("r/summary.json").read_text())
    assert "epoch 2/2" in result.err
    assert "validation MRR" in result.err


@pytest.mark.parametrize("graph", ["ring", "rings", "links"])
def test_every_key_is_in_the_document(train_graph, graph):
    record = json.loads(
        train_graph(graph, "--json", "--run-dir", "r", "--set", "log_every_steps=2").out
    )
    text = DOCUMENT.read_text("utf-8")
    for key in record["metrics"]:
        bare = key.removesuffix("_best_validation").removesuffix("_realistic")
        assert f"`{bare}`" in text, key
    for line in Path("r/metrics.jsonl").read_text().splitlines():
        for key in json.loads(line):
            assert f"`{key.removeprefix('validation_').removesuffix('_realistic')}`" in text, key


def test_people_get_text_on_stdout_and_progress_on_stderr(train_graph):
    result = train_graph("rings", "--run-dir", "r")
    assert result.out.startswith("nbfnet on rings: r\n")
    for part in ("test MRR", "realistic ties", "test Hits@10 of 50", "peak memory"):
        assert part in result.out
    assert "firing rate" not in result.out
    assert "samples/s" in result.err
    assert "no preset belongs to data set rings" in result.err


def test_the_run_folder_is_named_after_method_graph_and_seed(train_graph):
    assert train_graph("links", "--seed", "7", "--quiet").code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.endswith("-nbfnet-links-s7")


def test_an_embedded_graph_trains_with_its_preset(command):
    result = command(
        *("train", "nbfnet", "--dataset", "nations", *TINY, "--run-dir", "r", "--json"),
        *("--set", "batches_per_epoch=5"),
    )
    assert result.code == 0, result.err
    assert json.loads(result.out)["dataset"] == "nations"
    assert "nbfnet on nations (preset nations; seed 0)" in result.err


def test_a_run_is_resumed_evaluated_and_listed(train_graph, command, tmp_path):
    straight = json.loads(train_graph("ring", "--run-dir", "runs/straight", "--json").out)
    config = RunDirectory.open(tmp_path / "runs" / "straight").config()
    RunDirectory.create(tmp_path / "runs" / "stopped", config).unlock()
    resumed = command("train", "--resume", "runs/stopped", "--set", "log_every_steps=3", "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["metrics"]["mrr"] == straight["metrics"]["mrr"]

    evaluated = json.loads(command("evaluate", "runs/stopped", "--json").out)
    assert evaluated["metrics"]["mrr"] == straight["metrics"]["mrr"]
    assert "test MRR" in command("evaluate", "runs/stopped", "--checkpoint", "best").out

    listed = json.loads(command("runs", "--json").out)["runs"]
    assert [run["state"] for run in listed] == ["finished", "finished"]
    for run in listed:
        assert (run["method"], run["dataset"], run["model"]) == ("nbfnet", "ring", "nbfnet")
        assert (run["measure"], run["test"]) == ("mrr", straight["metrics"]["mrr"])
        assert run["validation"] == straight["metrics"]["validation_mrr"]
        assert run["epochs_done"] == 2
        assert run["test_accuracy"] is None
    assert f"{straight['metrics']['mrr']:.4f} MRR" in command("runs").out


@pytest.mark.parametrize("change", [["--lr", "0.5"], ["--epochs", "9"], ["--dataset", "umls"]])
def test_a_resumed_run_keeps_its_settings(train_graph, command, change):
    assert train_graph("ring", "--run-dir", "r", "--quiet").code == 0
    result = command("train", "--resume", "r", *change)
    assert result.code == 2
    assert result.err.count("\n") == 1


def one_message(result, code: int, *parts: str) -> None:
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("neuro: ")
    assert result.err.count("\n") == 1
    for part in parts:
        assert part in result.err


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nbfnett"], ['Did you mean "nbfnet"?']),
        (["nbfnet", "--dataset", "umsl"], ['Did you mean "umls"?']),
        (["nbfnet", "--dataset", "mnist"], ['Unknown graph "mnist"']),
        (["nbfnet", "--set", "method.layer=3"], ['Did you mean "method.layers"?']),
        (["nbfnet", "--model", "mlp"], ['Unknown key "model"']),
        (["nbfnet", "--graph", "x", "--dataset", "umls"], ["not both"]),
        (["nbfnet", "--graph", ""], ["graph is empty"]),
        (["opzo", "--graph", "x"], ['Unknown key "graph"']),
    ],
)
def test_wrong_use_is_exit_code_2_and_one_line(command, arguments, parts):
    one_message(command("train", *arguments), 2, *parts)


@pytest.mark.parametrize(
    ("file", "content", "parts"),
    [
        ("train.txt", None, ["lacks train.txt"]),
        ("valid.txt", None, ["lacks valid.txt"]),
        ("train.txt", "", ["train.txt is empty"]),
        ("train.txt", "a\tr\tb\na\tr\n", ["train.txt, line 2", "2 fields"]),
        ("train.txt", "a r b\n", ["train.txt, line 1", "1 field separated by tabs, not 3"]),
        ("train.txt", "a\tr\tb\na\t \tb\n", ["train.txt, line 2", "a field is blank"]),
        ("train.txt", b"a\tr\tb\n\xff\tr\tb\n", ["train.txt, line 2", "0xff is not UTF-8"]),
        ("valid.txt", "\n\n", ["valid.txt is empty"]),
        ("test.txt", "a\tno such relation\tb\n", ["no test triple is left"]),
    ],
)
def test_a_bad_graph_is_one_message(command, graphs, tmp_path, file, content, parts):
    own = tmp_path / "own"
    shutil.copytree(graphs / "ring", own)
    if content is None:
        (own / file).unlink()
    else:
        (own / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    result = command("train", "nbfnet", "--graph", own, *TINY, "--quiet", "--run-dir", "r")
    one_message(result, 1, *parts)


@pytest.mark.parametrize(
    ("facts", "query"),
    [
        ([("x", "r", "x")], "(x, r, ?)"),
        ([("x", "r", "x"), ("y", "r", "x"), ("x", "s", "y")], "(?, r, x)"),
    ],
)
def test_a_query_that_everything_answers_is_named_before_training(command, tmp_path, facts, query):
    own = tmp_path / "own"
    own.mkdir()
    lines = "".join("\t".join(fact) + "\n" for fact in facts)
    for split in ("train", "valid", "test"):
        (own / f"{split}.txt").write_text(lines)
    result = command("train", "grsnn", "--graph", own, "--quiet", "--run-dir", "r")
    one_message(result, 1, query, "no wrong one to learn from")


def test_what_is_odd_in_a_graph_is_counted_and_told(command, graphs, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(graphs / "ring", own)
    with (own / "train.txt").open("a") as file:
        file.write("a00\tnext\ta00\n" + 3 * "a01\tnext\ta01\n")
    with (own / "valid.txt").open("a") as file:
        file.write("nobody\tnext\ta00\n")
    with (own / "test.txt").open("a") as file:
        file.write("a00\tnext\tsomeone\na00\tlikes\ta01\n")
    result = command("train", "nbfnet", "--graph", own, *TINY, "--run-dir", "r")
    assert result.code == 0
    for note in (
        "Repeated triples dropped: 2.",
        "Facts from an entity to itself: 2.",
        "Entities in validation or test triples only: 2 (nobody, someone), in 2 triples",
        "Left out of the test triples: 1, whose relations the training triples lack (likes).",
    ):
        assert f"Note: {note}" in result.err


def test_a_graph_that_is_not_there_is_one_message(command):
    result = command("train", "nbfnet", "--graph", "gone", *TINY, "--quiet", "--run-dir", "r")
    one_message(result, 1, "gone is not a folder")


def test_a_graph_to_be_fetched_says_how(command, tmp_path):
    (tmp_path / "empty").mkdir()
    result = command(
        *("train", "nbfnet", "--dataset", "wn18rr", "--data-dir", "empty", "--quiet"),
        *("--run-dir", "r"),
    )
    assert (result.code, result.out) == (1, "")
    assert "WN18RR" in result.err


def test_divergence_is_exit_code_1(train_graph):
    result = train_graph("ring", "--quiet", "--lr", "1e25", "--set", "method.layer_norm=false")
    one_message(result, 1, "Training diverged in epoch 1", "last good checkpoint")


def test_a_graph_run_has_no_spike_events(train_graph, command):
    assert train_graph("ring", "--run-dir", "r", "--quiet").code == 0
    one_message(command("evaluate", "r", "--events"), 2, "Spike events")
    one_message(command("evaluate", "r", "--dataset", "umls"), 2, "evaluated on that graph")


def test_timesteps_are_those_of_the_spiking_method(command, graphs):
    quick = ("--graph", graphs / "ring", "--epochs=1", "--set=negatives=2", "--set=plots=false")
    made = command("train", "grsnn", *quick, "--timesteps=4", "--run-dir", "r")
    assert made.code == 0, made.err
    assert RunDirectory.open(Path("r")).config().method.timesteps == 4
    refused = command("train", "nbfnet", *quick, "--timesteps=4", "--run-dir", "s")
    assert refused.code == 2
    assert 'Unknown key "method.timesteps"' in refused.err
