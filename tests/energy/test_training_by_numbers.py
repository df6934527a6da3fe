"""Arithmetic of training on numbers that count what is done with them."""

import math
from collections import Counter
from typing import Any, ClassVar

import pytest
import torch

from neuro.energy.counts import Counts
from neuro.energy.training.optimiser import Optimiser
from neuro.energy.training.parts import neuron_backward, output_loss, surrogate_derivative
from neuro.layers import Spiking
from neuro.learning.objective import Objective
from neuro.neurons import LIF
from neuro.surrogate import SURROGATES

B, T = 3, 4


class Number:
    """A number that counts what is done with it."""

    done: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def _of(self, other: Any, kind: str, value: float) -> "Number":
        Number.done[kind] += 1
        return Number(value)

    def __add__(self, other: Any) -> "Number":
        return self._of(other, "additions", self.value + float(other))

    def __sub__(self, other: Any) -> "Number":
        return self._of(other, "additions", self.value - float(other))

    def __mul__(self, other: Any) -> "Number":
        return self._of(other, "multiplications", self.value * float(other))

    def __float__(self) -> float:
        return self.value

    def __lt__(self, other: Any) -> bool:
        Number.done["comparisons"] += 1
        return self.value < float(other)

    def apply(self, function: Any) -> "Number":
        return self._of(None, "functions", function(self.value))


def counted(work: Any) -> Counter[str]:
    Number.done = Counter()
    work()
    return Number.done


def same(columns: Any, done: Counter[str]) -> None:
    found = Counts(**columns)
    assert found.all_additions == done["additions"]
    assert found.all_multiplications == done["multiplications"]
    assert found.functions == done["functions"]
    assert found.comparisons == done["comparisons"]


def test_adam_by_numbers():
    parameter = torch.nn.Parameter(torch.tensor(0.7))
    optimiser = torch.optim.Adam([parameter], lr=0.01)
    moments = [Number(0.0), Number(0.0)]
    weight = Number(0.7)
    for step in (1, 2):
        parameter.grad = torch.tensor(0.3 / step)
        optimiser.step()

        def by_hand(step: int = step) -> None:
            nonlocal weight
            gradient = Number(0.3 / step)
            moments[0] = moments[0] * 0.9 + gradient * 0.1
            moments[1] = moments[1] * 0.999 + gradient * gradient * 0.001
            root = moments[1].apply(math.sqrt) * (1 / math.sqrt(1 - 0.999**step)) + 1e-8
            share = root.apply(lambda x: 1 / x)
            weight = weight - moments[0] * (0.01 / (1 - 0.9**step)) * share

        done = counted(by_hand)
        assert parameter.item() == pytest.approx(float(weight), rel=1e-5)
    same(Optimiser(name="adam").step(), done)


def test_sgd_by_numbers():
    def by_hand() -> None:
        velocity = Number(0.5) * 0.9 + Number(0.1)
        Number(1.0) - velocity * 0.01

    same(Optimiser(name="sgd").step(), counted(by_hand))


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
