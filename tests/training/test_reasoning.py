"""Graph runs from end to end: the protocol by hand, stops and resumes, what they report."""

import os
import shutil
import signal
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.config import ReasonConfig, load_reason_config
from neuro.errors import CheckpointError, DataError, DivergedError, UsageError
from neuro.graph import (
    KnownAnswers,
    MessageGraph,
    NBFNet,
    load_own_graph,
    negative_sampling_loss,
    strict_negatives,
)
from neuro.training import (
    RunDirectory,
    TrainingInterrupted,
    evaluate_run,
    resume,
    train,
)
from neuro.training.batches import epoch_order
from neuro.training.checkpoint import checkpoint_names, load_checkpoint
from neuro.training.metrics import read_metrics
from neuro.training.progress import Progress
from neuro.training.reasoning import ReasoningSession
from neuro.training.seeds import generator_for, seed_for

RANKING = {"mrr", "mr", "hits_at_1", "hits_at_3", "hits_at_10"}


def tiny(graph: Path, method: str = "nbfnet", /, **settings: Any) -> ReasonConfig:
    options = {"layers": 2, "aggregate": "sum"} if method == "nbfnet" else {"timesteps": 6}
    base: dict[str, Any] = {
        "graph": str(graph),
        "method": {"hidden": 8, **options},
        "epochs": 2,
        "batch_size": 4,
        "negatives": 4,
        "lr": 0.01,
        "threads": 1,
        "device": "cpu",
        "tensorboard": False,
        "plots": False,
    }
    return load_reason_config(method, **(base | settings))


class StopAt(Progress):
    """Sends SIGTERM to this process once a batch is done."""

    def __init__(self, step: int) -> None:
        self.step = step

    def batch(self, epoch, step, loss, accuracy, rate):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def tensor_files(run: Path) -> dict[str, bytes]:
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    return {file.name: file.read_bytes() for file in files}


def without_times(run: Path, kind: str) -> list[dict[str, Any]]:
    timed = ("seconds", "samples_per_second")
    return [
        {key: value for key, value in record.items() if key not in timed}
        for record in read_metrics(run / "metrics.jsonl", kind)
    ]


def test_what_follows_from_two_facts_is_learnt(tmp_path, graphs):
    config = tiny(graphs / "ring", epochs=15, plots=True, tensorboard=True)
    summary = train(config, run_dir=tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")
    assert records[-1]["train_loss"] < 0.8 * records[0]["train_loss"]
    assert records[-1]["validation_mrr"] > records[0]["validation_mrr"]
    assert summary.metrics["mrr"] > 0.8
    assert (summary.method, summary.dataset, summary.model) == ("nbfnet", "ring", "nbfnet")
    assert summary.firing_rates == {}
    image = (tmp_path / "run" / "plots" / "learning_curve.png").read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert list((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.parametrize("method", ["grsnn", "grsnn+"])
def test_spikes_learn_it_too(tmp_path, graphs, method):
    config = tiny(
        graphs / "ring", method, epochs=25, validate_every=12, method={"hidden": 16, "timesteps": 8}
    )
    summary = train(config, run_dir=tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")
    validated = [record for record in records if "validation_mrr" in record]
    assert records[-1]["train_loss"] < 0.95 * records[0]["train_loss"]
    assert validated[-1]["validation_mrr"] > 0.3
    assert summary.method == summary.model == method


def by_hand(config: ReasonConfig) -> dict[str, torch.Tensor]:
    """The documented steps with nothing but torch, the protocol and the generators."""
    task = load_own_graph(config.graph)
    entities, relations = len(task.graph.entities), len(task.graph.relations)
    torch.manual_seed(seed_for(config.seed, "weights"))
    model = NBFNet(2 * relations, hidden=8, layers=2, aggregate="sum")
    optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
    known = KnownAnswers.both_ways(task.train, entities=entities, relations=relations)
    edges = MessageGraph.of(task.train, nodes=entities, relations=relations)
    for epoch in range(1, config.epochs + 1):
        order = epoch_order(torch.arange(len(task.train)), config.seed, epoch)
        steps = order.split(config.batch_size * config.accumulate)
        for step, rows in enumerate(steps):
            optimiser.zero_grad()
            for number, part in enumerate(rows.split(config.batch_size)):
                queries = strict_negatives(
                    task.train[part],
                    known,
                    negatives=config.negatives,
                    generator=generator_for(config.seed, "negatives", epoch, step, number),
                )
                asked = queries.triples(relations)
                graph = edges.without(asked, one_hop=config.remove_one_hop)
                features = model(graph, queries.sources, queries.relations)
                logits = model.score(features, *queries)
                loss = negative_sampling_loss(logits, temperature=config.adversarial_temperature)
                (loss * len(part) / len(rows)).backward()
            optimiser.step()
    return model.state_dict()


@pytest.mark.parametrize(
    "settings", [{}, {"accumulate": 3, "remove_one_hop": True, "adversarial_temperature": 0.5}]
)
def test_training_is_the_documented_steps(tmp_path, graphs, settings):
    config = tiny(graphs / "ring", **settings)
    train(config, run_dir=tmp_path / "run")
    tensors = load_checkpoint(tmp_path / "run" / "checkpoints", "last").tensors
    for name, value in by_hand(config).items():
        torch.testing.assert_close(tensors[f"network/{name}"], value)


def test_a_step_tells_the_mean_over_all_its_batches(graphs):
    config = tiny(graphs / "ring", batch_size=3, accumulate=4)
    task = load_own_graph(graphs / "ring")
    session = ReasoningSession(config, task, torch.device("cpu"), started=0.0)
    assert session.steps_per_epoch == 3  # 26 triples, 12 a step
    session.begin_epoch()
    losses: list[float] = []

    class Watch:
        def check_loss(self, loss):
            losses.append(loss)

        def apply(self):
            losses.append(0.0)

    session.position.batch = 2
    learned = session.learn(Watch())
    assert learned.samples == 2
    session.position.batch = 0
    losses.clear()
    learned = session.learn(Watch())
    assert learned.samples == 12
    assert losses == [*sorted(losses[:4]), 0.0]
    assert learned.loss == losses[3]


@pytest.mark.parametrize(
    ("method", "graph", "step", "settings"),
    [
        ("nbfnet", "ring", 3, {}),
        ("grsnn", "ring", 3, {}),
        ("grsnn+", "ring", 3, {"method": {"timesteps": 4, "hidden": 4}}),
        ("nbfnet", "ring", 4, {"accumulate": 2, "evaluation_batch_size": 3}),
        ("nbfnet", "rings", 7, {"remove_one_hop": True, "method": {"layers": 2, "hidden": 4}}),
        ("nbfnet", "links", 5, {"negatives": 2, "adversarial_temperature": None}),
        ("grsnn", "links", 5, {"method": {"dependent": False, "timesteps": 6}}),
        ("nbfnet", "ring", 3, {"batches_per_epoch": 5, "validate_every": 2}),
    ],
    ids=[
        "facts",
        "spikes",
        "spikes, all options",
        "accumulated, at epoch end",
        "inductive",
        "links",
        "links by spikes",
        "capped",
    ],
)
def test_a_stopped_and_resumed_run_repeats_every_bit(
    tmp_path, graphs, method, graph, step, settings
):
    config = tiny(graphs / graph, method, log_every_steps=2, **settings)
    train(config, run_dir=tmp_path / "straight")
    with pytest.raises(TrainingInterrupted) as caught:
        train(config, run_dir=tmp_path / "stopped", progress=StopAt(step))
    assert caught.value.exit_code == 143
    assert RunDirectory.open(tmp_path / "stopped").state() == "interrupted"
    assert load_checkpoint(tmp_path / "stopped" / "checkpoints", "last").step == step
    torch.rand(7)
    resume(tmp_path / "stopped")
    assert tensor_files(tmp_path / "stopped") == tensor_files(tmp_path / "straight")
    for kind in ("step", "epoch"):
        assert without_times(tmp_path / "stopped", kind) == without_times(
            tmp_path / "straight", kind
        )


def test_a_signal_does_not_wait_for_a_validation(tmp_path, graphs, monkeypatch):
    config = tiny(graphs / "ring")
    train(config, run_dir=tmp_path / "straight")
    whole = ReasoningSession.validate

    def stopped(self):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on after the signal")

    monkeypatch.setattr(ReasoningSession, "validate", stopped)
    with pytest.raises(TrainingInterrupted, match=r"Stopped by SIGTERM.*--resume"):
        train(config, run_dir=tmp_path / "stopped")
    position = load_checkpoint(tmp_path / "stopped" / "checkpoints", "last").state["position"]
    assert position == {"epoch": 1, "batch": 7, "step": 7}
    monkeypatch.setattr(ReasoningSession, "validate", whole)
    resume(tmp_path / "stopped")
    assert tensor_files(tmp_path / "stopped") == tensor_files(tmp_path / "straight")


def test_weights_follow_the_seed(tmp_path, graphs):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(3)
        train(tiny(graphs / "ring", epochs=1, seed=seed), run_dir=tmp_path / name)
    assert tensor_files(tmp_path / "a") == tensor_files(tmp_path / "b")
    assert tensor_files(tmp_path / "a") != tensor_files(tmp_path / "c")


def test_last_and_best_epoch_are_what_evaluation_of_their_checkpoints_gives(tmp_path, graphs):
    summary = train(tiny(graphs / "ring", epochs=4), run_dir=tmp_path / "run")
    metrics = summary.metrics
    records = read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")
    reached = [record["validation_mrr"] for record in records]
    assert metrics["best_validation_epoch"] == reached.index(max(reached)) + 1
    assert metrics["best_validation_mrr"] == max(reached)
    assert metrics["validation_mrr"] == reached[-1]
    last, best = (evaluate_run(tmp_path / "run", checkpoint=name) for name in ("last", "best"))
    measures = RANKING | {f"{name}_realistic" for name in RANKING}
    assert last.metrics.keys() == measures | {"epochs"}
    for name in measures:
        assert last.metrics[name] == metrics[name]
        assert best.metrics[name] == metrics[f"{name}_best_validation"]
    assert best.metrics["epochs"] == metrics["best_validation_epoch"]
    assert metrics["mrr"] <= metrics["mrr_realistic"]


def test_the_inductive_test_reports_both_protocols(tmp_path, graphs):
    masked, counted = (
        train(
            tiny(graphs / "rings", epochs=1, inductive_positive_mask=mask),
            run_dir=tmp_path / f"{mask}",
        ).metrics
        for mask in (True, False)
    )
    for metrics in (masked, counted):
        assert metrics["hits_at_10_of_50_itself"] <= metrics["hits_at_10_of_50"]
    assert masked["hits_at_10_of_50"] == counted["hits_at_10_of_50"]
    assert counted["hits_at_1"] == 0
    assert counted["mr"] == pytest.approx(masked["mr"] + 1)


def test_links_are_told_from_pairs_that_are_none(tmp_path, graphs):
    config = tiny(graphs / "links", epochs=12, validate_every=5, negatives=1)
    summary = train(config, run_dir=tmp_path / "run")
    metrics = summary.metrics
    records = read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")
    validated = [record["epoch"] for record in records if "validation_auroc" in record]
    assert validated == [5, 10, 12]
    assert metrics["best_validation_epoch"] in validated
    assert {"auroc", "average_precision", "auroc_best_validation"} <= metrics.keys()
    assert metrics["auroc"] > 0.6
    assert evaluate_run(tmp_path / "run").metrics["auroc"] == metrics["auroc"]


@pytest.mark.parametrize("graph", ["ring", "links"])
def test_a_spiking_model_tells_its_firing_rate(tmp_path, graphs, graph):
    config = tiny(graphs / graph, "grsnn", log_every_steps=1, plots=True)
    summary = train(config, run_dir=tmp_path / "run")
    assert 0 < summary.metrics["firing_rate"] < 1
    assert summary.firing_rates == {"nodes": summary.metrics["firing_rate"]}
    records = read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")
    if graph == "ring":
        assert records[-1]["firing_rates"] == {"nodes": records[-1]["firing_rate"]}
        assert records[-1]["validation_firing_rate"] > 0
        assert (tmp_path / "run" / "plots" / "firing_rates.png").is_file()


class Listen(Progress):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_options_that_train_step_by_step_say_so_and_do_learn(tmp_path, graphs):
    for option, method in (
        ("concat_hidden", {"concat_hidden": True}),
        ("m_regularization", {"m_regularization": 0.1}),
        ("layer_norm", {"layer_norm": True}),
    ):
        listen = Listen()
        config = tiny(
            graphs / "ring", "grsnn", epochs=1, method={"hidden": 8, "timesteps": 6, **method}
        )
        summary = train(config, run_dir=tmp_path / option, progress=listen)
        (note,) = (note for note in listen.notes if "step by step" in note)
        assert option in note
        assert ("in torch in training," in note) == (option != "layer_norm")
        assert 0 < summary.metrics["mrr"] <= 1
    listen = Listen()
    train(tiny(graphs / "ring", "grsnn", epochs=1), run_dir=tmp_path / "plain", progress=listen)
    assert not any("step by step" in note for note in listen.notes)


def test_the_regulariser_of_potentials_is_part_of_the_loss(graphs):
    task = load_own_graph(graphs / "ring")
    positives = task.train[:4]

    def loss_of(coefficient: float) -> tuple[float, float]:
        method = {"hidden": 8, "timesteps": 6, "m_regularization": coefficient}
        config = tiny(graphs / "ring", "grsnn", method=method, batches_per_epoch=1)
        session = ReasoningSession(config, task, torch.device("cpu"), started=0.0)
        scored = session._learn_facts(positives, torch.Generator().manual_seed(0))
        session.begin_epoch()

        class Ignore:
            def check_loss(self, loss):
                pass

            def apply(self):
                pass

        learned = session.learn(Ignore())
        return learned.loss, 0.0 if scored.penalty is None else float(scored.penalty.detach())

    plain, nothing = loss_of(0.0)
    more, penalty = loss_of(3.0)
    assert nothing == 0.0
    assert penalty > 3 * 0.2
    assert more - plain > 3 * 0.2


def test_links_have_no_regulariser(tmp_path, graphs):
    config = tiny(graphs / "links", "grsnn", method={"m_regularization": 0.1})
    with pytest.raises(UsageError, match="m_regularization is of the queries"):
        train(config, run_dir=tmp_path / "run")


def test_epochs_and_batches_are_as_many_as_asked_for(tmp_path, graphs):
    config = tiny(graphs / "ring", epochs=4, keep_every_epochs=2, batches_per_epoch=3, accumulate=2)
    train(config, run_dir=tmp_path / "run")
    assert [r["step"] for r in read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")] == [
        2,
        4,
        6,
        8,
    ]
    names = checkpoint_names(tmp_path / "run" / "checkpoints")
    assert names == ["best", "epoch-0002", "epoch-0004", "last"]


def test_divergence_names_the_layer_and_keeps_the_last_good_checkpoint(tmp_path, graphs):
    config = tiny(graphs / "ring", lr=1e25, method={"layer_norm": False}, checkpoint_every_steps=1)
    with pytest.raises(DivergedError) as caught:
        train(config, run_dir=tmp_path / "run")
    message = str(caught.value)
    assert "diverged in epoch 1, batch" in message
    assert "last good checkpoint" in message
    run = RunDirectory.open(tmp_path / "run")
    assert run.state() == "diverged"
    last = load_checkpoint(run.checkpoints, "last")
    assert all(t.isfinite().all() for t in last.tensors.values() if t.is_floating_point())


def test_scores_of_a_validation_that_are_nan_are_divergence(tmp_path, graphs, monkeypatch):
    whole = NBFNet.score

    def broken(self, *arguments):
        return whole(self, *arguments) * (1 if self.training else nan)

    monkeypatch.setattr(NBFNet, "score", broken)
    with pytest.raises(DivergedError, match=r"NaN.*last good checkpoint"):
        train(tiny(graphs / "ring"), run_dir=tmp_path / "run")


def test_a_graph_that_was_changed_is_noticed(tmp_path, graphs):
    own = tmp_path / "own"
    shutil.copytree(graphs / "ring", own)
    with pytest.raises(TrainingInterrupted):
        train(tiny(own), run_dir=tmp_path / "run", progress=StopAt(3))
    with (own / "train.txt").open("a") as file:
        file.write("a00\tnext\ta07\n")
    for again in (resume, evaluate_run):
        with pytest.raises(CheckpointError, match="files were changed or replaced"):
            again(tmp_path / "run")


def test_another_graph_and_events_are_refused(tmp_path, graphs):
    train(tiny(graphs / "ring", epochs=1), run_dir=tmp_path / "run")
    with pytest.raises(UsageError, match="evaluated on that graph, ring"):
        evaluate_run(tmp_path / "run", dataset="umls")
    with pytest.raises(UsageError, match="Spike events"):
        evaluate_run(tmp_path / "run", events=True)


def test_notes_of_the_data_are_told(tmp_path, graphs):
    own = tmp_path / "own"
    shutil.copytree(graphs / "ring", own)
    with (own / "test.txt").open("a") as file:
        file.write("a00\tnext\tnobody\n")
    listen = Listen()
    train(tiny(own, epochs=1), run_dir=tmp_path / "run", progress=listen)
    assert any("nobody" in note and "nodes without edges" in note for note in listen.notes)


def test_a_missing_file_leaves_a_failed_run_that_says_so(tmp_path, graphs):
    own = tmp_path / "own"
    shutil.copytree(graphs / "ring", own)
    (own / "valid.txt").unlink()
    with pytest.raises(DataError, match=r"lacks valid\.txt"):
        train(tiny(own), run_dir=tmp_path / "run")
    assert RunDirectory.open(tmp_path / "run").state() == "failed"
