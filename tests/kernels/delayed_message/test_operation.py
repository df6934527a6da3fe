"""Delayed messages as an operation of torch: compiled, kept for backward, and wrongly called."""

import math

import pytest
import torch
from torch import Tensor

from neuro.kernels import KernelError, delayed_message
from tests.kernels.delayed_message.cases import DECAY, GAIN, NUMBERS, Case, draw


def test_only_operands_are_kept_for_backward(implementation):
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    case = draw()
    given = [case.heads, case.read_out, *case.learnt, *case.graph]
    case.drive.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        case.run()
    assert {each.data_ptr() for each in kept} <= {each.data_ptr() for each in given}


@pytest.mark.parametrize("bias", [0.05, 0.7])
@pytest.mark.parametrize("neurons", [5, 32, 64])
def test_what_is_decoded_does_not_depend_on_keeping_spikes(implementation, neurons, bias):
    case = draw(queries=5, neurons=neurons, strength=5.0, bias=bias)
    kept = case.run()
    case.options["keep_spikes"] = False
    found = case.run()
    assert found.spikes.shape == (5, 13, 0, kept.spikes.shape[-1])
    assert kept.decoded.any()
    assert torch.equal(found.decoded, kept.decoded)
    assert torch.equal(found.spike_counts, kept.spike_counts)


@pytest.mark.parametrize("keep_spikes", [True, False])
def test_opcheck(implementation, keep_spikes):
    case = draw(nodes=4, edges=9, steps=4, neurons=3)
    given = [each.requires_grad_() for each in case.learnt]
    operands = (list(case.graph), case.heads, *given, case.read_out)
    numbers = [DECAY, GAIN, 1.0, 2.0, 4.0]
    torch.library.opcheck(
        torch.ops.neuro.delayed_message, (*operands, numbers, 4, False, keep_spikes)
    )


def test_compiles_without_a_break(implementation):
    case = draw()

    def loss(*given: Tensor) -> Tensor:
        found = delayed_message(case.graph, case.heads, *given, case.read_out, **NUMBERS)
        return found.decoded.square().sum() + found.spike_counts.sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        given = [each.detach().requires_grad_() for each in case.learnt]
        gradients.append(torch.autograd.grad(function(*given), given))
    assert all(map(torch.equal, *gradients))


def test_what_is_not_decoded_has_no_gradient(implementation):
    case = draw()
    case.drive.requires_grad_()
    found = case.run()
    assert found.decoded.requires_grad
    assert not found.spikes.requires_grad
    assert not found.spike_counts.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": torch.tensor([0, 13])}, "nodes 0 to 12"),
        ({"heads": torch.tensor([0])}, r"heads must be int64 \[2\]"),
        ({"drive": torch.zeros(2, 5)}, r"float64 on cpu; for drive \(2, 5\) torch.float32"),
        ({"drive": torch.zeros(2, 0)}, "d >= 1"),
        ({"delay": torch.zeros(2, 2, 5, dtype=torch.float64)}, "relation 2, delay has rows"),
        ({"delay": torch.full((3, 2, 5), 4.6, dtype=torch.float64)}, "round to 5 .. 5"),
        ({"delay": torch.full((3, 2, 5), math.nan, dtype=torch.float64)}, "round to nan"),
        ({"weight": torch.zeros(5, 4, dtype=torch.float64)}, "weight is"),
        ({"read_out": torch.zeros(0, dtype=torch.float64)}, "T >= 1"),
        ({"read_out": torch.ones(3, dtype=torch.float64).requires_grad_()}, "constant here"),
    ],
)
def test_wrong_operands(implementation, change, message):
    case = Case(**{**draw().__dict__, **change})
    with pytest.raises(ValueError, match=message):
        case.run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay_gradient": "none"}, "released, exact"),
        ({"decay": 1.0}, "0 < decay < 1"),
        ({"threshold": 0.0}, "threshold > 0"),
        ({"max_delay": -1}, "max_delay >= 0"),
    ],
)
def test_wrong_options(options, message):
    case = draw()
    with pytest.raises(ValueError, match=message):
        delayed_message(
            case.graph, case.heads, *case.learnt, case.read_out, **{**NUMBERS, **options}
        )


def test_half_precision_is_the_references(monkeypatch):
    case = draw(dtype=torch.bfloat16)
    assert case.run().decoded.dtype == torch.bfloat16
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        case.run()
