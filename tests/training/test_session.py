"""The moment a run is in, captured and restored."""

import json

import pytest
import torch

from neuro.data import load_dataset
from neuro.errors import CheckpointError, UsageError
from neuro.training.checkpoint import Checkpoint
from neuro.training.classification import ClassificationSession
from neuro.training.session import Totals, choose_device

CPU = torch.device("cpu")


def session_of(config) -> ClassificationSession:
    return ClassificationSession(config, load_dataset("digits"), CPU, started=0.0)


def test_weights_and_feedback_follow_the_seed(tiny):
    first, again, other = (session_of(tiny("dfa", seed=seed)) for seed in (0, 0, 1))
    for part in ("network", "rule"):
        state, same, different = (
            getattr(session, part).state_dict() for session in (first, again, other)
        )
        assert all(torch.equal(state[name], same[name]) for name in state)
        assert any(not torch.equal(state[name], different[name]) for name in state)


def test_a_captured_moment_comes_back(tiny):
    config = tiny("opzo", rule={"local_learning": True})
    session, other = session_of(config), session_of(config)
    for tensor in session.trained_tensors:
        tensor.grad = torch.randn_like(tensor)
    session.optimiser.step()
    session.position.step, session.position.batch = 5, 5
    session.totals.add(10, 0.1, 7, {"lif1": 0.3}, 0.5)
    torch.rand(5)
    moment = session.capture(metrics_offset=12)
    expected = torch.rand(3)
    through_json = Checkpoint(
        moment.fingerprint,
        moment.step,
        {name: tensor.clone() for name, tensor in moment.tensors.items()},
        json.loads(json.dumps(moment.state)),
    )
    other.restore(through_json)
    assert (other.position, other.totals, other.best) == (
        session.position,
        session.totals,
        session.best,
    )
    assert torch.equal(torch.rand(3), expected)
    again = other.capture(metrics_offset=12)
    assert again.tensors.keys() == moment.tensors.keys()
    for name in moment.tensors:
        if not name.startswith("random/"):
            assert torch.equal(again.tensors[name], moment.tensors[name]), name


def test_a_checkpoint_of_another_network_is_refused(tiny):
    moment = session_of(tiny(model={"hidden": [8]})).capture(0)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        session_of(tiny(model={"hidden": [9]})).restore(moment)


def test_totals_are_weighted_by_samples():
    totals = Totals()
    totals.add(30, 1.0, 20, {"lif1": 0.1}, 0.5)
    totals.add(10, 2.0, 1, {"lif1": 0.5}, 0.5)
    assert totals.loss / totals.samples == pytest.approx(1.25)
    assert totals.mean_firing_rates() == {"lif1": pytest.approx(0.2)}
    assert (totals.correct, totals.seconds) == (21, 1.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_gpu_that_is_not_there_is_an_error_not_a_fallback():
    assert choose_device("auto") == CPU
    with pytest.raises(UsageError, match="neuro doctor"):
        choose_device("cuda")
