"""Evaluation against a computation by hand, sample by sample."""

from math import log

import pytest
import torch

from neuro.data import load_dataset
from neuro.training.classification import ClassificationSession
from neuro.training.evaluate import evaluate, mean_firing_rate


@pytest.fixture
def session(tiny) -> ClassificationSession:
    config = tiny(model={"hidden": [16, 4]})
    return ClassificationSession(config, load_dataset("digits"), torch.device("cpu"), started=0.0)


def test_accuracy_loss_and_rates_are_means_over_samples(session):
    data, network = session.dataset, session.network
    chosen = torch.tensor([5, 0, 17, 99, 3])
    found = evaluate(network, session.feeder, data.test, indices=chosen, batch_size=2, seed=0)
    loss = correct = rate = 0.0
    for index in chosen:
        x = data.test.inputs[index : index + 1].float() / data.scale
        if data.mean is not None:
            x = (x - torch.tensor(data.mean).view(-1, 1, 1)) / torch.tensor(data.std).view(-1, 1, 1)
        readout = network.run([x] * session.config.timesteps)
        target = int(data.test.targets[index])
        loss -= log(float(torch.softmax(readout.logits[0], 0)[target])) / 5
        correct += int(int(readout.logits[0].argmax()) == target) / 5
        rate += float(readout.firing_rates["lif1"]) / 5
    assert found.samples == 5
    assert found.accuracy == pytest.approx(correct)
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.firing_rates["lif1"] == pytest.approx(rate, rel=1e-5)


def test_the_batch_size_does_not_matter(session):
    whole, parts = (
        evaluate(session.network, session.feeder, session.dataset.test, batch_size=size, seed=0)
        for size in (297, 50)
    )
    assert whole.accuracy == parts.accuracy
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5)


def test_evaluation_changes_nothing(session):
    before = {name: tensor.clone() for name, tensor in session.network.state_dict().items()}
    random = torch.get_rng_state()
    evaluate(session.network, session.feeder, session.dataset.test, batch_size=100, seed=0)
    assert torch.equal(random, torch.get_rng_state())
    for name, tensor in session.network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert session.network.training


def test_a_random_encoding_repeats_itself(tiny):
    config = tiny(encoding="rate")
    session = ClassificationSession(
        config, load_dataset("digits"), torch.device("cpu"), started=0.0
    )
    runs = [
        evaluate(session.network, session.feeder, session.dataset.test, batch_size=100, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert runs[0].loss != runs[2].loss


def test_the_mean_rate_counts_every_neuron_once(session):
    rate = mean_firing_rate(session.network, {"lif1": 0.5, "lif2": 0.1})
    assert rate == pytest.approx((16 * 0.5 + 4 * 0.1) / 20)
