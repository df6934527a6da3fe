"""Time per sample: which contenders, that they agree, and what is claimed of the ratios."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from benchmarks.command import CheckFailedError, run
from benchmarks.speed import (
    PEER,
    RULES,
    WORKLOADS,
    Workload,
    check_bars,
    draw_frames,
    draw_network,
    measure,
    require_agreement,
    speed,
)
from neuro.errors import UsageError
from neuro.layers import Network
from neuro.learning.objective import Objective
from neuro.models import MLP, Conv5, build_model

TINY = Workload("tiny", MLP(norm="none", hidden=(12, 8)), (6,), "different", batch_size=4)


def test_every_contender_is_timed_in_every_round():
    found = measure(TINY, peers=False, rounds=3, warm_up=1, batch_size=None)
    assert list(found["contenders"]) == list(RULES)
    for times in found["contenders"].values():
        assert 0 < times["min_us"] <= times["p20_us"] <= times["median_us"] <= times["p80_us"]
    assert found["opzo_over"]["opzo"] == {"median": 1.0, "p20": 1.0, "p80": 1.0}


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_workloads_have_no_weight_standardisation_and_equal_batches(name):
    workload = WORKLOADS[name]
    assert isinstance(workload.model, MLP | Conv5)
    assert workload.model.norm == "none"
    frames = draw_frames(workload, 2, torch.Generator().manual_seed(0))
    assert len(frames) == workload.timesteps
    same = all(frame is frames[0] for frame in frames)
    assert same is (workload.frames == "same")
    assert frames[0].shape == (2, *workload.input_shape)


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_every_layer_fires_so_that_no_contender_is_spared_work(name):
    workload, generator = WORKLOADS[name], torch.Generator().manual_seed(0)
    network = draw_network(workload, generator)
    rates = network.run(draw_frames(workload, 8, generator)).firing_rates
    assert all(0.05 < float(rate) < 0.5 for rate in rates.values()), rates


class Autograd:
    """A contender that trains by autograd; for one time step it computes what OTTT does."""

    def __init__(self, network: Network, error: float = 0.0) -> None:
        self.network = deepcopy(network)
        self.error = error

    def train_batch(self, inputs, targets, optimiser):
        optimiser.zero_grad()
        logits, _ = self.network.sequence(inputs)
        loss = Objective(0.05, len(inputs)).losses(logits[0], targets).mean()
        loss.backward()
        for parameter in self.network.parameters():
            parameter.grad += self.error * parameter.grad.norm()
        return loss


def agreement(error: float) -> None:
    generator = torch.Generator().manual_seed(0)
    network = build_model(TINY.model, TINY.input_shape, 10, generator)
    contender = Autograd(network, error)
    frames = [torch.rand(4, 6, generator=generator) * 3]
    parameters: list[nn.Parameter] = list(contender.network.parameters())
    targets = torch.tensor([1, 2, 3, 4])
    require_agreement(
        network, parameters, contender.train_batch, frames, torch.stack(frames), targets
    )


def test_a_contender_with_other_gradients_is_not_timed():
    agreement(error=0.0)
    with pytest.raises(CheckFailedError, match="linear1"):
        agreement(error=0.01)


def record(ottt: float, peer: float | None) -> dict[str, object]:
    ratios = {"ottt": {"median": ottt}, "opzo": {"median": 1.0}}
    if peer is not None:
        ratios[PEER] = {"median": peer}
    workloads = {"mlp": {"opzo_over": ratios}}
    return {"workloads": workloads, "spikingjelly": None if peer is None else "2.0.0"}


def test_check_holds_opzo_to_its_ratios(capsys):
    check_bars(record(ottt=1.25, peer=0.5))
    assert capsys.readouterr().out.count("holds") == 2
    with pytest.raises(CheckFailedError, match="1 bars"):
        check_bars(record(ottt=1.26, peer=0.4))
    with pytest.raises(CheckFailedError, match="1 bars"):
        check_bars(record(ottt=1.0, peer=0.51))
    with pytest.raises(CheckFailedError, match="not timed"):
        check_bars(record(ottt=1.0, peer=None))


def test_wrong_use_is_told_in_one_message(capsys):
    assert run(speed, ["--workloads", "mlq"]) == 2
    assert 'Did you mean "mlp"' in capsys.readouterr().err


def test_an_unknown_workload_is_told_which_there_are():
    with pytest.raises(UsageError, match=r"unknown workload 'nothing'\. Workloads: mlp, mlp-e"):
        speed(workloads="nothing")
    with pytest.raises(UsageError, match=r"unknown workload 'conv6'\. Did you mean .conv5"):
        speed(workloads="conv6")
