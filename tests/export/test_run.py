"""A trained run becomes integers that answer as the network does."""

from pathlib import Path

import numpy as np
import pytest

from neuro.config import TrainConfig
from neuro.errors import UsageError
from neuro.export.run import compare, load_classifier, quantise_session
from neuro.hardware.fixed_point import answers, run
from neuro.hardware.integer_graph import IntegerGraph, read_graph, write_graph
from neuro.hardware.targets import TARGETS
from neuro.training import train


def trained(folder: Path, **changes: object) -> Path:
    """Train a small network on digits and return its run."""
    config = TrainConfig.model_validate(
        {
            "rule": {"name": "opzo"},
            "dataset": "digits",
            "model": {"name": "mlp", "hidden": [64], "reset": "hard"},
            "timesteps": 6,
            "epochs": 4,
            "validation_fraction": 0.1,
            "tensorboard": False,
            **changes,
        }
    )
    train(config, run_dir=folder)
    return folder


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "hard")


def test_integers_answer_as_the_network_does(hard, tmp_path):
    session = load_classifier(hard)
    quantised = quantise_session(session, TARGETS["loihi2"], samples=128)
    write_graph(quantised.graph, tmp_path)
    graph = read_graph(tmp_path)
    found = compare(session, graph)
    assert found.samples == 297
    assert found.float_accuracy > 0.8
    assert found.agreement > 0.97
    assert abs(found.integer_accuracy - found.float_accuracy) < 0.02
    assert found.extremes["lif1"].wrapped_u == 0
    assert found.spikes["lif1"] > 1
    assert graph.metadata["dataset"] == "digits"
    assert graph.metadata["quantisation"][0]["name"] == "lif1"


def test_a_part_of_the_test_set(hard):
    session = load_classifier(hard)
    graph = quantise_session(session, TARGETS["loihi2"], samples=32).graph
    assert compare(session, graph, samples=50).samples == 50


def test_grey_levels_are_sent_as_they_are(hard):
    session = load_classifier(hard)
    graph = quantise_session(session, TARGETS["loihi2"], samples=32).graph
    assert graph.metadata["messages"]["input"]["unit"] == 1 / 16
    images = session.dataset.test.inputs.numpy().astype(np.int16)
    levels = np.broadcast_to(images, (6, *images.shape))
    found = answers(graph, run(graph, {"input": levels}))
    right = float(np.mean(found == session.dataset.test.targets.numpy()))
    assert right == compare(session, graph).integer_accuracy


def test_spikes_reach_a_chip_without_messages(tmp_path):
    session = load_classifier(trained(tmp_path / "rate", encoding={"name": "rate"}, timesteps=10))
    graph = quantise_session(session, TARGETS["loihi1"], samples=128).graph
    assert isinstance(graph, IntegerGraph)
    assert graph.sources["input"].message_bits == 0
    found = compare(session, graph)
    assert found.agreement > 0.95
    # both see the very same random spikes
    assert found.float_accuracy == pytest.approx(found.integer_accuracy, abs=0.03)


def test_what_a_chip_does_not_have_is_refused(hard, tmp_path):
    with pytest.raises(UsageError, match="carry none"):
        quantise_session(load_classifier(hard), TARGETS["loihi1"])
    model = {"name": "mlp", "hidden": [16], "reset": "soft"}
    session = load_classifier(trained(tmp_path / "soft", model=model, epochs=1))
    with pytest.raises(UsageError, match="lif1"):
        quantise_session(session, TARGETS["loihi2"])
    graph = quantise_session(session, TARGETS["loihi2-microcode"], samples=64).graph
    assert compare(session, graph).agreement > 0.9
