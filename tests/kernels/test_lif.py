"""The LIF sequence: every implementation against the neurons' own steps, forward and backward."""

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import KernelError, lif
from neuro.kernels.lif.fields import stack
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF
from neuro.neurons.base import Dynamics
from neuro.surrogate import SURROGATES, ATan, Gaussian, Rectangle

NEURONS = {
    "if": IF(),
    "lif": LIF(decay=0.7, input_gain=0.9, threshold=0.8),
    "cuba_lif": CubaLIF(current_decay=0.4, voltage_decay=0.8, input_gain=0.7),
    "alpha_lif": AlphaLIF(),
    "adaptive_lif": AdaptiveLIF(decay=0.8, adaptation_decay=0.7, beta=0.6),
    "adaptive_lif, e-prop": AdaptiveLIF(
        decay=0.8, normalise_adaptation=False, subtract_adaptation=False
    ),
}
RESETS: dict[str, dict[str, Any]] = {
    "soft, detached": {"reset_mode": "soft", "detach_reset": True},
    "soft": {"reset_mode": "soft", "detach_reset": False},
    "hard, detached": {"reset_mode": "hard", "reset_value": -0.3, "detach_reset": True},
    "hard": {"reset_mode": "hard", "reset_value": 0.2, "detach_reset": False},
}


@dataclass
class Run:
    """Outputs of a sequence and the gradients of everything it was given."""

    outputs: list[Tensor]
    gradients: list[Tensor]


def learnable(neuron: Any, shape: tuple[int, ...] = (), device: str = "cpu") -> Any:
    """Return the neuron with its numbers as tensors of a shape that want gradients."""
    numbers = {
        each.name: torch.full(shape, getattr(neuron, each.name), dtype=torch.float64)
        for each in fields(neuron)
        if isinstance(getattr(neuron, each.name), float)
        and not (each.name == "reset_value" and neuron.reset_mode == "soft")
    }
    for k, number in enumerate(numbers.values()):
        number += 0.01 * torch.arange(number.numel()).reshape(shape) * (-1) ** k
    return replace(
        neuron, **{name: each.to(device).requires_grad_() for name, each in numbers.items()}
    )


def run(neuron: Any, currents: Tensor, *, fused: bool, of_neuron: bool = True) -> Run:
    """Differentiate a sequence with a loss that weighs every output differently."""
    generator = torch.Generator().manual_seed(0)
    currents = currents.detach().requires_grad_()
    kind: Any = {"generator": generator, "dtype": currents.dtype}
    at_start = [torch.rand(currents.shape[1:], **kind) for _ in neuron.state_type._fields]
    state = neuron.state_type(*(each.to(currents.device).requires_grad_() for each in at_start))
    sequence = type(neuron).sequence if fused else Dynamics.sequence
    spikes, after = sequence(neuron, currents, state)
    outputs = [spikes, *after]
    weights = [torch.randn(each.shape, **kind).to(each.device) for each in outputs]
    loss = sum((each * weight).sum() for each, weight in zip(outputs, weights, strict=True))
    given = [currents, *state]
    if of_neuron:
        numbers = [getattr(neuron, each.name) for each in fields(neuron)]
        given += [each for each in numbers if isinstance(each, Tensor)]
    if not loss.requires_grad:  # no step: nothing depends on anything but the states
        return Run(outputs, [])
    found = torch.autograd.grad(loss, given, allow_unused=True)
    zeros = [torch.zeros_like(each) for each in given]
    gradients = [zero if each is None else each for each, zero in zip(found, zeros, strict=True)]
    return Run([each.detach() for each in outputs], gradients)


def assert_equal(one: Run, other: Run, tolerance: float) -> None:
    for a, b in zip(one.outputs, other.outputs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for a, b in zip(one.gradients, other.gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("name", NEURONS)
def test_neurons_and_resets_against_their_steps(implementation, name, reset):
    neuron = learnable(replace(NEURONS[name], **RESETS[reset]))
    currents = 2 * torch.rand((7, 3, 5), dtype=torch.float64)
    steps, fused = (run(neuron, currents, fused=way) for way in (False, True))
    assert 0.02 < steps.outputs[0].mean() < 0.98
    assert_equal(steps, fused, 1e-12)


@pytest.mark.parametrize("name", SURROGATES)
def test_surrogates_against_steps(implementation, name):
    surrogate = SURROGATES[name]()
    currents = 2 * torch.rand((6, 2, 40), dtype=torch.float64)
    for neuron in (LIF(surrogate=surrogate), LIF(surrogate=surrogate, inclusive=False)):
        steps, fused = (run(neuron, currents, fused=way) for way in (False, True))
        assert_equal(steps, fused, 1e-12)
        single = run(neuron, currents.float(), fused=True)
        assert_equal(run(neuron, currents.float(), fused=False), single, 2e-5)


def test_at_exactly_the_threshold(implementation):
    for inclusive, spike in ((True, 1.0), (False, 0.0)):
        spikes, _ = LIF(inclusive=inclusive).sequence(torch.ones(1, 1, 3))
        assert spikes.tolist() == [[[spike] * 3]]


@pytest.mark.parametrize("shape", [(5,), (4, 1, 1), (4, 3, 5), (2, 4, 3, 5), (2, 1, 1, 1)])
def test_numbers_per_neuron_per_channel_and_per_sample(implementation, shape):
    currents = 2 * torch.rand((6, 2, 4, 3, 5), dtype=torch.float64)
    for neuron in (LIF(decay=0.7, threshold=0.8), NEURONS["adaptive_lif"]):
        field = learnable(neuron, shape)
        steps, fused = (run(field, currents, fused=way) for way in (False, True))
        assert_equal(steps, fused, 1e-12)


def test_fields_wider_than_a_block(implementation):
    currents = 2 * torch.rand((3, 2, 4999), dtype=torch.float64)
    for shape in ((), (4999,)):
        neuron = learnable(LIF(decay=0.7), shape)
        steps, fused = (run(neuron, currents, fused=way) for way in (False, True))
        assert_equal(steps, fused, 1e-11)


# A first call compiles, which on a busy machine takes what a health check allows for an example.
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.integers(0, 9),
    shape=st.lists(st.integers(0, 7), min_size=1, max_size=3).map(tuple),
    decay=st.floats(0, 1, width=32),
    threshold=st.floats(0.0625, 2, width=32),
    name=st.sampled_from(sorted(NEURONS)),
    transposed=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_shape_float32(steps, shape, decay, threshold, name, transposed, seed):
    generator = torch.Generator().manual_seed(seed)
    currents = 3 * torch.randn((steps, *shape), generator=generator)
    if transposed:
        currents = currents.transpose(0, -1).contiguous().transpose(0, -1)
    neuron = replace(NEURONS[name], threshold=threshold)
    if name not in ("if", "alpha_lif"):
        neuron = replace(neuron, **{neuron.decay_fields[-1 if name == "cuba_lif" else 0]: decay})
    runs = []
    for implementation in ("reference", "numba"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", implementation)
            runs.append(run(neuron, currents, fused=True))
    runs.append(run(neuron, currents, fused=False))
    assert_equal(runs[0], runs[1], 1e-4)
    assert_equal(runs[0], runs[2], 1e-4)


def test_what_is_given_is_left_as_it_was(implementation):
    currents, potential = torch.rand(4, 2, 9), torch.rand(2, 9)
    kept = currents.clone(), potential.clone()
    lif(currents, potential, decay=0.5)
    assert torch.equal(currents, kept[0])
    assert torch.equal(potential, kept[1])


@pytest.mark.parametrize("name", ["lif", "adaptive_lif"])
def test_opcheck(implementation, name):
    neuron = NEURONS[name]
    state = [torch.rand(2, 3, requires_grad=True) for _ in neuron.state_type._fields]
    absent = torch.empty(0)
    numbers = (0.8, 0.0, 0.7, 1.0, 0.0, 0.5, 0.6, 0.4)
    currents = torch.rand(5, 2, 3, requires_grad=True)
    parameters = stack(numbers, currents).requires_grad_()
    adaptive = name == "adaptive_lif"
    operands = (currents, state[0], absent, state[1] if adaptive else absent, parameters)
    equations = [False, adaptive, True, True, True, True]
    torch.library.opcheck(torch.ops.neuro.lif, (*operands, equations, "sigmoid", 4.0))


def test_compiles_without_a_break(implementation):
    neuron = LIF(surrogate=ATan())

    def loss(currents: Tensor) -> Tensor:
        spikes, state = neuron.sequence(currents)
        return (spikes.cumsum(0) + state.membrane_potential).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        currents = torch.linspace(0, 2, 24).reshape(4, 2, 3).requires_grad_()
        function(currents).backward()
        gradients.append(currents.grad)
    assert torch.equal(*gradients)


def test_only_inputs_and_initial_states_are_kept(implementation):
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    currents = torch.rand(50, 2, 9, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        LIF().sequence(currents)
    assert sum(each.numel() for each in kept) <= currents.numel() + 2 * 9 + 8
    assert any(each.data_ptr() == currents.data_ptr() for each in kept)


def test_a_neuron_with_equations_of_its_own_leaves_the_kernel(monkeypatch):
    class Louder(LIF):
        def charge(self, current: Tensor, state: Any) -> Any:
            return super().charge(2 * current, state)

    class Renamed(LIF):
        pass

    class Own(Rectangle):
        pass

    currents = torch.full((3, 1, 2), 0.6)
    assert Louder().sequence(currents)[0].sum() > LIF().sequence(currents)[0].sum()
    called: list[Any] = []
    monkeypatch.setattr(
        "neuro.neurons.base.lif", lambda *args, **more: called.append(args) or 1 / 0
    )
    Louder().sequence(currents)
    LIF(surrogate=Own()).sequence(currents)
    assert not called
    with pytest.raises(ZeroDivisionError):
        Renamed().sequence(currents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 2, 4), torch.zeros(2, 5)), "membrane_potential is"),
        ((torch.zeros(3, 2, 4), torch.zeros(2, 4, dtype=torch.float64)), "float64"),
        ((torch.zeros(3, 2, 4, dtype=torch.int32), torch.zeros(2, 4)), "floating"),
        ((torch.zeros(3, 2, 4), torch.zeros(2, 4), torch.zeros(4)), "synaptic_current is"),
    ],
)
def test_wrong_operands(arguments, message):
    with pytest.raises(ValueError, match=message):
        lif(*arguments, decay=0.5)


def test_an_unknown_surrogate():
    with pytest.raises(ValueError, match="unknown surrogate 'step'"):
        lif(torch.zeros(1, 1), torch.zeros(1), decay=0.5, surrogate="step")


def test_half_precision_is_the_references(monkeypatch):
    currents = torch.rand(3, 2, 4, dtype=torch.bfloat16)
    assert LIF().sequence(currents)[0].dtype == torch.bfloat16
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        LIF().sequence(currents)


def test_a_batch_can_be_cut_anywhere(implementation):
    neuron = AdaptiveLIF(surrogate=Gaussian())
    currents = 2 * torch.rand(8, 3, 70)
    whole = run(neuron, currents, fused=True)
    first, state = neuron.sequence(currents[:3])
    second, state = neuron.sequence(currents[3:], state)
    at_rest, after = neuron.sequence(currents)
    assert torch.equal(torch.cat([first, second]), at_rest)
    assert all(map(torch.equal, state, after))
    assert whole.outputs[0].shape == at_rest.shape


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("reset", RESETS)
def test_triton_neurons_and_resets(triton_device, name, reset):
    neuron = learnable(replace(NEURONS[name], **RESETS[reset]), device=triton_device)
    currents = 2 * torch.rand((5, 3, 5), dtype=torch.float64, device=triton_device)
    steps, fused = (run(neuron, currents, fused=way) for way in (False, True))
    assert_equal(steps, fused, 1e-12)


@pytest.mark.parametrize("name", SURROGATES)
def test_triton_surrogates(triton_device, name):
    neuron = LIF(surrogate=SURROGATES[name](), inclusive=name == "sigmoid")
    currents = 2 * torch.rand((3, 2, 301), device=triton_device)
    steps, fused = (run(neuron, currents, fused=way) for way in (False, True))
    assert_equal(steps, fused, 2e-5)


@pytest.mark.parametrize("shape", [(5,), (4, 1, 1), (2, 4, 3, 5), (2, 1, 1, 1)])
def test_triton_numbers_per_neuron(triton_device, shape):
    currents = 2 * torch.rand((3, 2, 4, 3, 5), dtype=torch.float64, device=triton_device)
    field = learnable(NEURONS["adaptive_lif"], shape, triton_device)
    steps, fused = (run(field, currents, fused=way) for way in (False, True))
    assert_equal(steps, fused, 1e-12)


def test_triton_in_half_precision(triton_device, monkeypatch):
    currents = 2 * torch.rand((4, 2, 33), device=triton_device).bfloat16()
    fused = run(LIF(decay=0.7), currents, fused=True)
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    expected = run(LIF(decay=0.7), currents, fused=True)
    assert torch.equal(fused.outputs[0], expected.outputs[0])
    # the interpreter cuts what the reference rounds
    for a, b in zip(
        [*fused.outputs, *fused.gradients], [*expected.outputs, *expected.gradients], strict=True
    ):
        torch.testing.assert_close(a, b, rtol=2**-7, atol=1e-2)
