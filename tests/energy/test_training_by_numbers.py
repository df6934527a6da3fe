"""Arithmetic of losses and neurons in training, on numbers that count what is done with them."""

import math
from typing import Any

import pytest
import torch

from neuro.energy.training.parts import neuron_backward, output_loss, surrogate_derivative
from neuro.layers import Spiking
from neuro.learning.objective import Objective
from neuro.neurons import LIF
from neuro.surrogate import SURROGATES
from tests.energy.numbers_that_count import Number, counted, same

B, T = 3, 4


def test_the_loss_and_its_error_by_numbers():
    beta, m, wanted = 0.2, 4, 2
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.5]])
    result: dict[str, Any] = {}

    def by_hand() -> None:
        o = [Number(each) for each in logits[0].tolist()]
        top = o[0]
        for each in o[1:]:
            top = each if top < each else top
        powers = [(each - top).apply(math.exp) for each in o]
        total = powers[0]
        for each in powers[1:]:
            total = total + each
        share = total.apply(lambda x: 1 / x)
        right = [float(index == wanted) for index in range(m)]
        gaps = [each - y for each, y in zip(o, right, strict=True)]
        result["errors"] = [
            ((power * share - y) * (1 - beta) + gap * (2 * beta / m)) * (1 / T) * (1 / B)
            for power, y, gap in zip(powers, right, gaps, strict=True)
        ]
        squares = Number(0.0)
        for gap in gaps:
            squares = squares + gap * gap
        entropy = total.apply(math.log) + top - o[wanted]
        result["loss"] = (entropy * (1 - beta) + squares * (1 / m) * beta) * (1 / T)

    same({k: n for k, n in output_loss(m).items() if "activation" not in k}, counted(by_hand))
    objective, targets = Objective(beta, T), torch.tensor([wanted])
    expected = objective.errors(logits, targets)[0] / B
    assert [float(each) for each in result["errors"]] == pytest.approx(expected.tolist(), abs=1e-6)
    assert float(result["loss"]) == pytest.approx(
        float(objective.losses(logits, targets)), abs=1e-6
    )


def test_surrogates_by_numbers():
    formulas = {
        "sigmoid": lambda x, k: _sigmoid(x, k),
        "atan": lambda x, a: ((x * x) * (math.pi**2 * a / 2) + 2 / a).apply(lambda v: 1 / v),
        "triangle": lambda x, w: _positive(abs_(x) * (-1 / w**2) + 1 / w),
        "rectangle": lambda x, w: Number(float(abs_(x) < w / 2)) * (1 / w),
        "fast_sigmoid": lambda x, k: _squared((abs_(x) * k + 1).apply(lambda v: 1 / v)),
        "gaussian": lambda x, s: (
            (x * x) * (-0.5 / s**2) + -math.log(s * math.sqrt(2 * math.pi))
        ).apply(math.exp),
    }
    assert formulas.keys() == SURROGATES.keys()
    for name, formula in formulas.items():
        surrogate = SURROGATES[name]()
        layer = Spiking(LIF(surrogate=surrogate))
        value: list[Number] = []

        def by_hand(formula: Any = formula, value: Any = value, surrogate: Any = surrogate) -> None:
            value.append(formula(Number(1.3) - 1.0, surrogate.sharpness))

        same(surrogate_derivative(layer, "lif"), counted(by_hand))
        truth = surrogate.derivative(torch.tensor(0.3, dtype=torch.float64))
        assert float(value[0]) == pytest.approx(float(truth), rel=1e-6)


def abs_(x: Number) -> Number:
    return Number(abs(x.value))  # a bit, no arithmetic


def _positive(x: Number) -> Number:
    return x if not x < 0 else Number(0.0)


def _squared(x: Number) -> Number:
    return x * x


def _sigmoid(x: Number, k: float) -> Number:
    step = ((x * k).apply(lambda v: math.exp(-v)) + 1).apply(lambda v: 1 / v)
    return (step - step * step) * k


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_back_through_a_neuron_by_numbers(scale):
    """A soft reset without gradient: the commonest neuron, forward again and then back."""
    decay, steps = 0.6, 5
    generator = torch.Generator().manual_seed(3)
    currents = torch.randn(steps, 1, generator=generator, dtype=torch.float64)
    arriving = torch.randn(steps, 1, generator=generator, dtype=torch.float64)
    layer = Spiking(LIF(decay=decay), scale=scale)
    given = currents.clone().requires_grad_()
    state = layer.neuron.zeros((1,), dtype=torch.float64)
    sent, _ = layer.sequence(given, state)
    sent.backward(arriving)
    found: list[Number] = []
    fired = 0

    def by_hand() -> None:
        nonlocal fired
        potential, history = Number(0.0), []
        for current in currents[:, 0].tolist():
            charged = potential * decay + current
            history.append(charged)
            if charged < 1:
                potential = charged
            else:
                fired += 1
                potential = charged - 1
        error = Number(0.0)
        for t in reversed(range(steps)):
            spike = Number(float(arriving[t, 0]))
            if scale != 1:
                spike = spike * scale
            error = error + spike * _sigmoid(history[t] - 1, 4.0)
            found.insert(0, error)
            error = error * decay

    done = counted(by_hand)
    assert [float(each) for each in found] == pytest.approx(given.grad[:, 0].tolist(), rel=1e-6)
    always, on_spike = neuron_backward(layer, "lif")
    surrogate = surrogate_derivative(layer, "lif")
    columns = {
        name: steps * (always.get(name, 0) + surrogate.get(name, 0)) + fired * on_spike.get(name, 0)
        for name in {*always, *surrogate, *on_spike}
    }
    same(columns, done)
