"""Synapses in whole numbers: what they send, and gradients that pass straight through."""

import numpy as np
import pytest
import torch
from torch import Tensor

from neuro.hardware.messages import Messages
from neuro.layers import Conv2d, Linear, ScaledWSConv2d, ScaledWSLinear, Synapse
from neuro.layers.quantised import (
    Copy,
    Grid,
    Heard,
    QuantisedSynapse,
    SharedBias,
    _Held,
    _OnGrid,
)

SYNAPSES = [
    (lambda: Linear(12, 5), (12,)),
    (lambda: Linear(12, 5, bias=False), (12,)),
    (lambda: ScaledWSLinear(12, 5), (12,)),
    (lambda: Conv2d(4, 6, 3, padding=1, groups=2), (4, 5, 5)),
    (lambda: ScaledWSConv2d(3, 6, 3, stride=2, padding=1), (3, 6, 6)),
]


def quantised(synapse: Synapse, shape: tuple[int, ...], **changes: object) -> QuantisedSynapse:
    grid = {
        "factor": 41.7,
        "bias_factor": 41.7 / (2.74 / 4),
        "exponent": 1,
        "step": 2,
        "largest": 254,
        "bias_exponent": None,
        "unit": 2.74 / 4,
        "silence": None,
        "sent": 1.0,
    }
    return QuantisedSynapse(synapse, Grid(**{**grid, **changes}))


def test_weights_inside_pass_gradients_and_those_beyond_only_back():
    wanted = torch.tensor([-9.0, -3.1, 0.9, 1.1, 8.0, 9.0], requires_grad=True)
    made = _OnGrid.apply(wanted, 2, 6)
    assert made.tolist() == [-6, -4, 0, 2, 6, 6]
    for direction, expected in ((1.0, [0, 1, 1, 1, 1, 1]), (-1.0, [1, 1, 1, 1, 0, 0])):
        (gradient,) = torch.autograd.grad(direction * made.sum(), wanted, retain_graph=True)
        assert (gradient * direction).tolist() == expected


def test_biases_take_the_least_exponent_that_holds_them():
    states = torch.tensor([4095.4, -3.3, 0.0], dtype=torch.float64, requires_grad=True)
    held = _Held.apply(states, None)
    assert held.tolist() == [4095, -3, 0]
    assert _Held.apply(states * 1.001, None).tolist() == [4100, -4, 0]
    assert _Held.apply(states, 6).tolist() == [4096, 0, 0]
    (gradient,) = torch.autograd.grad(held.sum(), states)
    assert gradient.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("make", "shape"), SYNAPSES)
def test_what_is_sent_is_whole(make, shape):
    torch.manual_seed(0)
    synapse = make()
    found = quantised(synapse, shape)
    counts = torch.randint(0, 5, (3, *shape)).float()
    weight = found.effective_weight()
    assert torch.equal(weight / 4, (weight / 4).round())  # step 2, exponent 1
    current = found(counts * (2.74 / 4))
    assert torch.equal(current * 64, (current * 64).round())
    registers = found.bias_registers()
    assert (registers is None) == (synapse.bias is None)
    expected = found.linear.transmit(counts, weight)
    if registers is not None:
        mantissa, power = registers
        expected = expected + (mantissa * 2**power / 64).float()
    assert torch.equal(current, expected)
    real = synapse(counts * (2.74 / 4)) * 41.7 / (2.74 / 4)
    assert torch.cosine_similarity(current.flatten(), real.flatten(), dim=0) > 0.97
    assert 0.9 < current.norm() / real.norm() < 1.1


@pytest.mark.parametrize("sent", [1.0, 0.03])
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(("make", "shape"), SYNAPSES)
def test_products_by_hand_are_those_of_autograd(make, shape, silent, sent):
    generator = torch.Generator().manual_seed(7)
    silence = torch.randn(shape, generator=generator) if silent else None
    found = quantised(make(), shape, silence=silence, sent=sent)
    activity = torch.randint(0, 5, (3, *shape), generator=generator) * (2.74 / 4)
    activity.requires_grad_()
    weight = found.effective_weight().detach().requires_grad_()
    current = found.transmit(activity, weight)
    delta = torch.randn(current.shape, generator=generator)
    wanted: list[Tensor] = [weight, activity]
    wanted += [] if found.bias is None else [found.bias]
    expected = torch.autograd.grad(current, wanted, delta)
    with torch.no_grad():
        made = [
            found.weight_gradient(delta, activity),
            found.transpose(delta, weight, activity.shape),
        ]
        made += [] if found.bias is None else [found.bias_gradient(delta)]
    for mine, theirs in zip(made, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_learnt_weight_gets_the_gradient_of_the_real_one():
    synapse = Linear(12, 5)
    found = quantised(synapse, (12,), exponent=0)
    gradient = torch.randn(5, 12)
    found.effective_weight().backward(gradient)
    torch.testing.assert_close(synapse.weight.grad, gradient * 41.7)


@pytest.mark.parametrize(("make", "shape"), SYNAPSES)
def test_parameters_keep_their_names(make, shape):
    synapse = make()
    found = quantised(synapse, shape, silence=torch.zeros(shape))
    assert found.state_dict().keys() == synapse.state_dict().keys()
    assert set(map(id, found.parameters())) == set(map(id, synapse.parameters()))


@pytest.mark.parametrize("bits", [0, 3, 8])
def test_messages_are_those_a_chip_receives(bits):
    unit, offset = np.array([0.11, 0.07]), np.array([-0.4, 0.1])
    speaks = Messages(bits, unit, offset)
    lowest, highest = (0, 1) if not bits else (-(1 << bits - 1), (1 << bits - 1) - 1)
    heard = Heard(torch.tensor(unit), torch.tensor(offset), lowest=lowest, highest=highest)
    x = torch.randn(50, 2)
    np.testing.assert_array_equal(heard(x).numpy(), speaks.encode(x.double().numpy()))
    assert not heard.state_dict()


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: Linear(12, 5), (12,)), (lambda: ScaledWSConv2d(3, 6, 3), (3, 6, 6))],
)
def test_copies_of_a_synapse_are_as_many_synapses(make, shape):
    torch.manual_seed(3)
    synapse = make()
    synapse.bias.data.normal_()
    alone = [
        quantised(synapse, shape),
        quantised(synapse, shape, factor=13.2, exponent=0, bias_factor=20.0),
    ]
    both = QuantisedSynapse(synapse, *(each.grids[0] for each in alone), biased=False)
    activity = (torch.rand(4, *shape) < 0.4) * (2.74 / 4)
    sent = both(activity)
    # without biases here, which the register of each population has
    copies = [Copy(number, 2)(sent) for number in range(2)]
    shared = [SharedBias((both, number)) for number in range(2)]
    for number, each in enumerate(alone):
        assert torch.equal(shared[number](copies[number]), each(activity))
    deltas = [torch.randn_like(each) for each in copies]
    delta = sum(Copy(n, 2).adjoint(each, sent.shape) for n, each in enumerate(deltas))
    gradients = [each.weight_gradient(d, activity) for each, d in zip(alone, deltas, strict=True)]
    assert torch.equal(both.weight_gradient(delta, activity), torch.cat(gradients))
    biases = [each.bias_gradient(d) for each, d in zip(alone, deltas, strict=True)]
    torch.testing.assert_close(both.bias_gradient(delta), sum(biases))
    errors = [each.transpose(d, each.effective_weight(), activity.shape)
              for each, d in zip(alone, deltas, strict=True)]  # fmt: skip
    found = both.transpose(delta, both.effective_weight(), activity.shape)
    torch.testing.assert_close(found, sum(errors), rtol=1e-4, atol=1e-3)


def test_shared_biases_are_rounded_together():
    torch.manual_seed(3)
    one, two = (quantised(Linear(12, 5), (12,), bias_factor=0.1) for _ in range(2))
    shared = SharedBias((one, 0), (two, 0))
    mantissa, power = shared.bias_registers()
    whole = (one.bias_states(0) + two.bias_states(0)).detach()
    assert torch.equal(mantissa * torch.exp2(power), whole.round())
    apart = one.bias_states(0).round() + two.bias_states(0).round()
    assert not torch.equal(whole.round(), apart)
    current = torch.randn(3, 5, requires_grad=True)
    shared(current).sum().backward()
    assert torch.equal(shared.adjoint(current, current.shape), current)
    assert torch.equal(current.grad, torch.ones_like(current))
    torch.testing.assert_close(one.bias.grad, torch.full((5,), 3 * 0.1))
