"""Arithmetic of optimiser steps on numbers that count what is done with them."""

import math
from typing import Any

import pytest
import torch

from neuro.energy.training.cost import training_cost
from neuro.energy.training.optimiser import NORMS, Optimiser, Trained, count_steps
from neuro.energy.training.parts import Tally
from neuro.errors import UsageError
from neuro.learning import RULES
from neuro.training.divergence import total_norm
from tests.energy.networks_in_training import CLASSES, T, dense, inputs_of
from tests.energy.numbers_that_count import Number, counted, same

DECAY = 0.3


@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_by_numbers(name, weight_decay):
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    parameter = torch.nn.Parameter(torch.tensor(0.7))
    optimiser = kind([parameter], lr=0.01, weight_decay=weight_decay)
    moments = [Number(0.0), Number(0.0)]
    weight = Number(0.7)
    for step in (1, 2):
        parameter.grad = torch.tensor(0.3 / step)
        optimiser.step()

        def by_hand(step: int = step) -> None:
            nonlocal weight
            gradient = Number(0.3 / step)
            if weight_decay and name == "adam":
                gradient = gradient + weight * weight_decay
            elif weight_decay:
                weight = weight * (1 - 0.01 * weight_decay)
            moments[0] = moments[0] * 0.9 + gradient * 0.1
            moments[1] = moments[1] * 0.999 + gradient * gradient * 0.001
            root = moments[1].apply(math.sqrt) * (1 / math.sqrt(1 - 0.999**step)) + 1e-8
            share = root.apply(lambda x: 1 / x)
            weight = weight - moments[0] * (0.01 / (1 - 0.9**step)) * share

        done = counted(by_hand)
        assert parameter.item() == pytest.approx(float(weight), rel=1e-5)
    same(Optimiser(name=name, weight_decay=weight_decay).step(), done)


@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_by_numbers(momentum, nesterov, weight_decay):
    parameter = torch.nn.Parameter(torch.tensor(0.7))
    optimiser = torch.optim.SGD(
        [parameter], lr=0.01, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
    weight, velocity = Number(0.7), Number(0.0)
    for step in (1, 2):
        parameter.grad = torch.tensor(0.3 / step)
        optimiser.step()

        def by_hand(step: int = step) -> None:
            nonlocal weight, velocity
            gradient = Number(0.3 / step)
            if weight_decay:
                gradient = gradient + weight * weight_decay
            if momentum:
                velocity = velocity * momentum + gradient
                gradient = gradient + velocity * momentum if nesterov else velocity
            weight = weight - gradient * 0.01

        done = counted(by_hand)
        assert parameter.item() == pytest.approx(float(weight), rel=1e-5)
    chosen = Optimiser(name="sgd", momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    same(chosen.step(), done)
    assert chosen.moments == bool(momentum)


def test_without_being_told_optimisers_decay_weights_as_those_of_torch_do():
    for name, kind in {
        "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD
    }.items():  # fmt: skip
        default = kind([torch.nn.Parameter(torch.ones(1))], lr=0.1).defaults["weight_decay"]
        assert Optimiser(name=name).step() == Optimiser(name=name, weight_decay=default).step()


@pytest.mark.parametrize("limit", [None, 0.5])
def test_norms_and_their_limit_by_numbers(limit):
    """Two tensors, as they are before a step; after it the weights are looked at likewise."""
    gradients = [torch.tensor([0.3, -0.4, 1.2]), torch.tensor([2.0, 0.1])]
    numbers = [[Number(each) for each in tensor.tolist()] for tensor in gradients]
    result: list[Any] = []

    def norm() -> Number:
        norms = [_sum([each * each for each in tensor]).apply(math.sqrt) for tensor in numbers]
        total = _sum([each * each for each in norms]).apply(math.sqrt)
        assert not total < 0  # whether it is finite, which it is
        return total

    def by_hand() -> None:
        total = norm()
        if limit is not None:
            assert not total < limit
            factor = (total + 1e-6).apply(lambda x: 1 / x) * limit
            factor = factor if factor < 1 else Number(1.0)
            result.extend([[each * factor for each in tensor] for tensor in numbers])
        norm()

    done = counted(by_hand)
    found = total_norm(gradients)
    if limit is not None:
        parameters = [torch.nn.Parameter(torch.zeros_like(each)) for each in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, found)
        clipped = [[float(each) for each in tensor] for tensor in result]
        for parameter, expected in zip(parameters, clipped, strict=True):
            assert parameter.grad.tolist() == pytest.approx(expected)
    plain, whole = Tally(), Tally()
    optimiser = Optimiser(name="sgd", gradient_clip=limit)
    count_steps(whole, [Trained("one", 5, 2)], optimiser, 1)
    plain.add("one", 5, optimiser.step())
    counts = whole.ledger(1, 1).total
    steps = plain.ledger(1, 1).total
    assert counts.functions == done["functions"]
    assert counts.comparisons == done["comparisons"]
    assert counts.all_multiplications - steps.all_multiplications == done["multiplications"]
    assert counts.all_additions - steps.all_additions == done["additions"]
    moved = 5 if limit else 0
    assert counts.state_reads - steps.state_reads == 5 + moved
    assert counts.state_writes - steps.state_writes == moved


def test_a_limit_of_the_gradient_costs_at_every_step_whatever_trains():
    network = dense()
    steps = inputs_of(network, constant=True)
    limited = Optimiser(gradient_clip=1.0)
    for rule in RULES:
        plain = training_cost(network, steps, rule)
        cost = training_cost(network, steps, rule, optimiser=limited)
        before, after = plain.phases["optimiser"], cost.phases["optimiser"]
        gained = after.total.multiplications - before.total.multiplications
        assert gained == cost.trained + 1
        assert after.total.state_writes - before.total.state_writes == cost.trained
        assert before.layers[NORMS].comparisons == 2
        assert after.layers[NORMS].comparisons == 4
        others = {name: each for name, each in cost.phases.items() if name != "optimiser"}
        assert all(plain.phases[name] == each for name, each in others.items())
    online = RULES["ottt"].Options(update="online")
    often = training_cost(network, steps, online, optimiser=limited)
    assert often.phases["optimiser"].layers[NORMS].comparisons == 4 * T


def test_feedback_that_an_optimiser_moves_decays_at_its_own_rate():
    network = dense()
    steps = inputs_of(network, constant=True)
    matrix = 9 * CLASSES
    faded = training_cost(network, steps, "dkp").phases["optimiser"]
    kept = RULES["dkp"].Options(feedback_decay=0.0)
    without = training_cost(network, steps, kept).phases["optimiser"]
    for layer, difference in (("lif1", matrix), ("two", 0)):
        one, other = faded.layers[layer], without.layers[layer]
        assert one.multiplications - other.multiplications == difference
        assert one.additions - other.additions == difference
    decoupled = Optimiser(name="adamw", weight_decay=0.0)
    faded = training_cost(network, steps, "dkp", optimiser=decoupled).phases["optimiser"]
    assert faded.layers["lif1"].decays == 3 * matrix
    assert faded.layers["two"].decays == 2 * (9 * 7 + 7)


def test_moments_are_those_of_the_optimiser():
    network = dense()
    steps = inputs_of(network, constant=True)
    for optimiser, moments in (
        (Optimiser(), 2),
        (Optimiser(name="sgd"), 1),
        (Optimiser(name="sgd", momentum=0.0), 0),
    ):
        cost = training_cost(network, steps, "ottt", optimiser=optimiser)
        assert cost.stored.get("moments", 0) == moments * cost.trained
        writes = cost.phases["optimiser"].total.state_writes
        assert writes == (1 + moments) * cost.trained


def test_another_optimiser_is_refused():
    with pytest.raises(UsageError, match='optimiser "adagrad" are not known; those of adam, adamw'):
        Optimiser(name="adagrad")


def _sum(numbers: list[Number]) -> Number:
    total = Number(0.0)  # a sum of n products is n multiply-accumulates
    for each in numbers:
        total = total + each
    return total
