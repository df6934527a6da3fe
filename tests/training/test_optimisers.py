"""Learning rates over training, and optimiser state that survives JSON."""

import json
from math import cos, pi

import pytest
import torch

from neuro.data import load_dataset
from neuro.errors import ConfigError
from neuro.training.classification import ClassificationSession
from neuro.training.optimisers import (
    learning_rate_factor,
    optimiser_tensors,
    restore_optimiser,
    set_learning_rate,
)

OPTIMISERS = ["adam", "adamw", "sgd", {"name": "sgd", "momentum": 0.0}]


def session_of(config) -> ClassificationSession:
    return ClassificationSession(config, load_dataset("digits"), torch.device("cpu"), started=0.0)


def descend(session: ClassificationSession, steps: range) -> None:
    for step in steps:
        for index, tensor in enumerate(session.trained_tensors):
            tensor.grad = torch.full_like(tensor, 0.1 * (index + 1) * (step - 1.5))
        session.optimiser.step()


def test_cosine_falls_from_one_to_zero(tiny):
    config = tiny(epochs=4)
    factors = [learning_rate_factor(config, step, 5) for step in range(21)]
    assert factors[0] == 1
    assert factors[10] == pytest.approx(0.5)
    assert factors[5] == pytest.approx((1 + cos(pi / 4)) / 2)
    assert factors[20] == pytest.approx(0)
    assert factors == sorted(factors, reverse=True)


def test_a_schedule_per_epoch_changes_at_epoch_ends(tiny):
    config = tiny(epochs=4, schedule={"per": "epoch"})
    factors = [learning_rate_factor(config, step, 5) for step in range(20)]
    assert len(set(factors[:5])) == len(set(factors[5:10])) == 1
    assert factors[5] == pytest.approx((1 + cos(pi / 4)) / 2)


def test_a_constant_schedule_stays(tiny):
    config = tiny(schedule="constant")
    assert learning_rate_factor(config, 17, 5) == 1


def test_each_group_keeps_its_own_rate(tiny):
    session = session_of(tiny("dkp", lr=0.2, rule={"feedback_lr_scale": 0.5}))
    rates = [group["initial_lr"] for group in session.optimiser.param_groups]
    assert rates == [0.2, 0.1]
    set_learning_rate(session.optimiser, 0.5)
    assert [group["lr"] for group in session.optimiser.param_groups] == [0.1, 0.05]


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_a_restored_optimiser_goes_on_as_the_first(tiny, optimizer):
    config = tiny("dkp", optimizer=optimizer)
    straight, stopped, resumed = (session_of(config) for _ in range(3))
    descend(straight, range(6))
    descend(stopped, range(3))
    tensors, rest = optimiser_tensors(stopped.optimiser)
    for mine, theirs in zip(resumed.trained_tensors, stopped.trained_tensors, strict=True):
        mine.data.copy_(theirs)
    restore_optimiser(
        resumed.optimiser,
        {name: value.clone() for name, value in tensors.items()},
        json.loads(json.dumps(rest)),
    )
    descend(resumed, range(3, 6))
    for mine, theirs in zip(resumed.trained_tensors, straight.trained_tensors, strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_of_other_parameters_is_refused(tiny):
    tensors, rest = optimiser_tensors(session_of(tiny()).optimiser)
    other = session_of(tiny("dkp"))
    with pytest.raises(ConfigError, match="does not fit"):
        restore_optimiser(other.optimiser, tensors, rest)
