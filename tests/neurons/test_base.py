"""The laws every neuron obeys; a neuron is tested by being listed in CASES."""

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.errors import UsageError
from neuro.neurons import (
    IF,
    LIF,
    NEURONS,
    AdaptiveLIF,
    AlphaLIF,
    CubaLIF,
    Dynamics,
    LeakyIntegrator,
    Neuron,
    decay_from_tau,
    decay_logit,
)
from neuro.surrogate import ATan, Sigmoid

CASES: dict[str, list[Dynamics[Any]]] = {
    "if": [
        IF(),
        IF(reset_mode="hard", reset_value=-0.25, input_gain=0.5),
        IF(detach_reset=False, inclusive=False),
    ],
    "lif": [
        LIF(),
        LIF(decay=0.9, input_gain=0.1, threshold=0.3, surrogate=ATan()),
        LIF(reset_mode="hard", reset_value=0.1, detach_reset=False, inclusive=False),
        LIF(reset_mode="hard", decay=torch.tensor(0.7, dtype=torch.float64)),
    ],
    "cuba_lif": [
        CubaLIF(),
        CubaLIF(current_decay=0.3, voltage_decay=0.8, reset_mode="hard", detach_reset=False),
        CubaLIF(current_decay=0.9, voltage_decay=0.0, threshold=2.0, input_gain=0.4),
    ],
    "alpha_lif": [
        AlphaLIF(),
        AlphaLIF(decay=0.5, threshold=0.7, reset_mode="soft", detach_reset=True, input_gain=1.0),
    ],
    "adaptive_lif": [
        AdaptiveLIF(),
        AdaptiveLIF(beta=0.2, reset_mode="hard", detach_reset=False),
        AdaptiveLIF(beta=0.07, normalise_adaptation=False, subtract_adaptation=False),
    ],
    "leaky_integrator": [LeakyIntegrator(), LeakyIntegrator(decay=1.0, input_gain=0.5)],
}
LISTED = [
    pytest.param(neuron, id=f"{name}-{i}")
    for name, group in CASES.items()
    for i, neuron in enumerate(group)
]
every_neuron = pytest.mark.parametrize("neuron", LISTED)
every_spiking = pytest.mark.parametrize(
    "neuron", [case for case in LISTED if isinstance(case.values[0], Neuron)]
)

# 0 and 1, primes, and a size above a vector register's width.
SIZES = st.sampled_from([0, 1, 2, 3, 7, 13, 37])
SHAPES = st.tuples(st.integers(0, 7), st.lists(SIZES, min_size=1, max_size=3).map(tuple))


def currents_of(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Currents that make every case fire sometimes."""
    source = torch.Generator().manual_seed(seed)
    return 4 * torch.rand(tuple(shape), generator=source, dtype=torch.float64) - 0.8


def assert_states_equal(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    for name, a, b in zip(left._fields, left, right, strict=True):
        assert torch.equal(a, b), name


def test_every_registered_neuron_has_a_case_of_its_own_kind() -> None:
    assert set(CASES) == set(NEURONS)
    for name, neurons in CASES.items():
        assert {type(neuron) for neuron in neurons} == {NEURONS[name]}
        assert NEURONS[name]() in neurons, f"{name} has no case with its defaults"


@every_neuron
@given(shape=SHAPES, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_sequence_is_stacked_steps(
    neuron: Dynamics[Any], shape: tuple[int, tuple[int, ...]], seed: int
) -> None:
    timesteps, layer = shape
    currents = currents_of((timesteps, *layer), seed)
    outputs, final = neuron.sequence(currents)
    assert outputs.shape == currents.shape
    assert outputs.dtype == currents.dtype
    state = neuron.zeros(layer, dtype=currents.dtype)
    for t in range(timesteps):
        output, state = neuron.step(currents[t], state)
        assert torch.equal(outputs[t], output)
    assert_states_equal(final, state)


@every_neuron
@given(shape=SHAPES, cut=st.integers(0, 7), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_splitting_time_into_two_calls_changes_nothing(
    neuron: Dynamics[Any], shape: tuple[int, tuple[int, ...]], cut: int, seed: int
) -> None:
    currents = currents_of((shape[0], *shape[1]), seed)
    whole, final = neuron.sequence(currents)
    first, between = neuron.sequence(currents[:cut])
    second, last = neuron.sequence(currents[cut:], between)
    assert torch.equal(torch.cat((first, second)), whole)
    assert_states_equal(last, final)


@every_neuron
def test_zeros_is_the_state_at_rest(neuron: Dynamics[Any]) -> None:
    state = neuron.zeros((2, 3, 5), dtype=torch.float16)
    assert isinstance(state, neuron.state_type)
    for tensor in state:
        assert tensor.shape == (2, 3, 5)
        assert tensor.dtype == torch.float16
        assert not tensor.any()
    assert len({tensor.data_ptr() for tensor in state}) == len(state)
    assert {tensor.dtype for tensor in neuron.zeros((2,))} == {torch.get_default_dtype()}
    assert {tensor.device.type for tensor in neuron.zeros((2,), device="meta")} == {"meta"}


@every_neuron
def test_step_is_pure(neuron: Dynamics[Any]) -> None:
    _, state = neuron.sequence(currents_of((3, 4, 5)))
    current = currents_of((4, 5), seed=1)
    kept = current.clone(), type(state)(*(tensor.clone() for tensor in state))
    once = neuron.step(current, state)
    again = neuron.step(current, state)
    assert torch.equal(current, kept[0])
    assert_states_equal(state, kept[1])
    assert torch.equal(once[0], again[0])
    assert_states_equal(once[1], again[1])


@every_neuron
def test_currents_need_not_be_contiguous(neuron: Dynamics[Any]) -> None:
    currents = currents_of((5, 7, 3)).permute(2, 0, 1)
    assert not currents.is_contiguous()
    outputs, final = neuron.sequence(currents)
    expected, expected_final = neuron.sequence(currents.contiguous())
    assert torch.equal(outputs, expected)
    assert_states_equal(final, expected_final)


@every_neuron
def test_step_keeps_the_dtype_of_the_currents(neuron: Dynamics[Any]) -> None:
    current = currents_of((2, 3)).float()
    output, state = neuron.step(current, neuron.zeros((2, 3)))
    assert {output.dtype, *(tensor.dtype for tensor in state)} == {torch.float32}


@every_spiking
def test_step_is_charge_fire_reset(neuron: Neuron[Any]) -> None:
    _, state = neuron.sequence(currents_of((4, 2, 50)))
    current = currents_of((2, 50), seed=1)
    charged = neuron.charge(current, state)
    distance = neuron.distance(charged)
    spikes = (distance >= 0 if neuron.inclusive else distance > 0).to(current.dtype)
    assert 0 < spikes.mean() < 1
    stepped, after = neuron.step(current, state)
    assert torch.equal(stepped, spikes)
    assert torch.equal(neuron.fire(charged), spikes)
    assert_states_equal(after, neuron.reset(charged, spikes))


@every_neuron
def test_filters_are_the_response_of_the_membrane_without_resets(neuron: Dynamics[Any]) -> None:
    currents = currents_of((9, 3))
    state = neuron.zeros((3,), dtype=currents.dtype)
    stages = [torch.zeros(3, dtype=currents.dtype) for _ in neuron.filters]
    for current in currents:
        state = neuron.charge(current, state)
        signal = current
        for i, (decay, gain) in enumerate(neuron.filters):
            signal = stages[i] = decay * stages[i] + gain * signal
        torch.testing.assert_close(state.membrane_potential, signal, rtol=1e-12, atol=1e-12)


def float_fields(neuron: Dynamics[Any]) -> list[str]:
    return [f.name for f in fields(neuron) if isinstance(getattr(neuron, f.name), float)]


def charge_fields(neuron: Dynamics[Any]) -> list[str]:
    """The float fields that the charge depends on: decays of the filters, and gains."""
    firing = {"threshold", "reset_value", "beta", "adaptation_decay"}
    return [name for name in float_fields(neuron) if name not in firing]


@every_neuron
def test_gradients_of_the_charge_pass_gradcheck(neuron: Dynamics[Any]) -> None:
    """Charges alone are smooth, so autograd must agree with finite differences exactly there."""
    names = charge_fields(neuron)
    # 0.05 inside, so that a decay of 0 or 1 may be moved both ways.
    values = [torch.tensor(min(max(getattr(neuron, n), 0.05), 0.95)).double() for n in names]

    def potentials(currents: Tensor, *parameters: Tensor) -> Tensor:
        live = replace(neuron, **dict(zip(names, parameters, strict=True)))
        state = live.zeros(currents.shape[1:], dtype=currents.dtype)
        charged = []
        for current in currents:
            state = live.charge(current, state)
            charged.append(state.membrane_potential)
        return torch.stack(charged)

    inputs = (currents_of((4, 2, 3)), *values)
    assert torch.autograd.gradcheck(potentials, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize("name", [n for n, kind in NEURONS.items() if issubclass(kind, Neuron)])
def test_every_number_of_a_spiking_neuron_may_be_learnt(name: str, mode: str, detach: bool) -> None:
    neuron = NEURONS[name](reset_mode=mode, detach_reset=detach)  # type: ignore[call-arg]
    for field in float_fields(neuron):
        if field == "reset_value" and mode == "soft":
            continue
        value = torch.tensor(getattr(neuron, field), dtype=torch.float64, requires_grad=True)
        live = replace(neuron, **{field: value})
        currents = currents_of((8, 2, 11))
        plain, _ = neuron.sequence(currents)
        spikes, _ = live.sequence(currents)
        assert torch.equal(spikes, plain)
        assert 0 < spikes.mean() < 1
        (gradient,) = torch.autograd.grad(spikes.sum(), value)
        assert gradient.abs() > 1e-6, field


@every_neuron
def test_one_value_a_channel_is_one_neuron_a_channel(neuron: Dynamics[Any]) -> None:
    currents = currents_of((6, 2, 3, 4, 4))  # T, B, C, H, W
    for field in float_fields(neuron):
        if field == "reset_value" and getattr(neuron, "reset_mode", None) == "soft":
            continue
        value = getattr(neuron, field)
        values = [0.5 * value + 0.05, 0.75 * value + 0.05, 0.9 * value + 0.05]
        together = replace(neuron, **{field: torch.tensor(values).double().reshape(3, 1, 1)})
        outputs, final = together.sequence(currents)
        for channel, single in enumerate(values):
            alone = replace(neuron, **{field: torch.tensor(single).double()})
            expected, expected_final = alone.sequence(currents[:, :, channel])
            assert torch.equal(outputs[:, :, channel], expected), field
            for a, b in zip(final, expected_final, strict=True):
                assert torch.equal(a[:, channel], b), field


@every_neuron
def test_decay_logits_hold_the_decays(neuron: Dynamics[Any]) -> None:
    inside = replace(neuron, **{n: 0.3 + 0.2 * i for i, n in enumerate(neuron.decay_fields)})
    logits = inside.decay_logits()
    assert set(logits) == set(neuron.decay_fields)
    back = inside.with_decay_logits(logits)
    for name in neuron.decay_fields:
        assert logits[name].shape == ()
        assert getattr(back, name).item() == pytest.approx(getattr(inside, name), rel=1e-6)


@every_neuron
def test_a_learnt_decay_stays_between_zero_and_one_under_wild_steps(neuron: Dynamics[Any]) -> None:
    # The interior start matters: the cases hold decays of 0 and 1 too.
    start = replace(neuron, **dict.fromkeys(neuron.decay_fields, 0.6))
    logits = {name: x.double().requires_grad_() for name, x in start.decay_logits().items()}
    for sign in (1, -1):
        outputs, final = start.with_decay_logits(logits).sequence(currents_of((5, 40)))
        target = outputs.sum() + final.membrane_potential.sum()
        for name, gradient in zip(
            logits,
            torch.autograd.grad(target, list(logits.values())) if logits else (),
            strict=True,
        ):
            assert gradient.abs() > 0, name
            logits[name] = (logits[name] + sign * 5 * gradient.sign()).detach().requires_grad_()
            assert 0 < torch.sigmoid(logits[name]) < 1


def test_decay_logits_of_a_tensor_keep_its_shape_and_drop_its_graph() -> None:
    decay = torch.tensor([0.25, 0.5]).requires_grad_()
    (logit,) = LIF(decay=decay).decay_logits().values()
    torch.testing.assert_close(logit, torch.tensor([-math.log(3), 0.0]))
    assert not logit.requires_grad


@pytest.mark.parametrize("decay", [0.0, 1.0, math.nan])
def test_a_decay_without_finite_logit_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match="strictly between 0 and 1"):
        decay_logit(decay)


def test_an_unknown_decay_field_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"LIF has no decay field tau; it has: decay"):
        LIF().with_decay_logits({"tau": torch.tensor(0.0)})
    with pytest.raises(UsageError, match=r"IF has no decay field decay; it has: none"):
        IF().with_decay_logits({"decay": torch.tensor(0.0)})


@pytest.mark.parametrize(
    ("tau", "rule", "dt", "decay"),
    [
        (2.0, "euler", 1.0, 0.5),
        (1.0, "euler", 1.0, 0.0),
        (20.0, "euler", 5.0, 0.75),
        (math.inf, "euler", 1.0, 1.0),
        (4.0, "exponential", 1.0, 0.7788007830714049),
        (0.5, "exponential", 1.0, 0.1353352832366127),
        (10e-3, "exponential", 1e-3, 0.9048374180359595),
    ],
)
def test_decay_from_tau_by_hand(tau: float, rule: Any, dt: float, decay: float) -> None:
    assert decay_from_tau(tau, rule, dt=dt) == pytest.approx(decay, rel=1e-14)
    assert decay_from_tau(torch.tensor(tau), rule, dt=dt).item() == pytest.approx(decay, rel=1e-6)


def test_decay_from_tau_carries_gradients_to_tau() -> None:
    tau = torch.tensor([2.0, 5.0], dtype=torch.float64, requires_grad=True)
    (euler,) = torch.autograd.grad(decay_from_tau(tau, "euler").sum(), tau)
    torch.testing.assert_close(euler, torch.tensor([1 / 4, 1 / 25]).double())
    (exponential,) = torch.autograd.grad(decay_from_tau(tau, "exponential").sum(), tau)
    expected = [math.exp(-1 / 2) / 4, math.exp(-1 / 5) / 25]
    torch.testing.assert_close(exponential, torch.tensor(expected).double())


@pytest.mark.parametrize(
    ("tau", "rule", "dt", "message"),
    [
        (0.5, "euler", 1.0, "at least dt for the euler rule"),
        (0.0, "exponential", 1.0, "tau must be positive"),
        (math.nan, "euler", 1.0, "tau must be positive"),
        (2.0, "euler", 0.0, "dt must be a positive"),
        (2.0, "heun", 1.0, 'must be "euler" or "exponential", got "heun"'),
    ],
)
def test_decay_from_tau_refuses(tau: float, rule: Any, dt: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        decay_from_tau(tau, rule, dt=dt)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("threshold", 0.0, "threshold must be positive, got 0.0"),
        ("threshold", math.inf, "threshold must be finite"),
        ("reset_mode", "none", 'reset_mode must be "soft" or "hard", got none'),
        ("reset_value", 0.5, 'reset_value must be left 0 unless reset_mode is "hard"'),
        ("reset_value", torch.tensor(0.5), "reset_value must be left 0"),
    ],
)
@pytest.mark.parametrize("name", [n for n, kind in NEURONS.items() if issubclass(kind, Neuron)])
def test_a_wrong_firing_parameter_is_refused(
    name: str, field: str, value: Any, message: str
) -> None:
    given_mode = {} if field == "reset_mode" else {"reset_mode": "soft"}
    with pytest.raises(UsageError, match=rf"{NEURONS[name].__name__}\.{message}"):
        NEURONS[name](**{**given_mode, field: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_a_decay_outside_zero_to_one_is_refused(value: float) -> None:
    for kind in NEURONS.values():
        for field in kind.decay_fields:
            with pytest.raises(UsageError, match=rf"{kind.__name__}\.{field} must be"):
                kind(**{field: value})


@every_spiking
def test_neurons_are_immutable_and_comparable(neuron: Neuron[Any]) -> None:
    with pytest.raises(AttributeError):
        neuron.threshold = 3.0  # type: ignore[misc]
    assert replace(neuron) == neuron
    assert replace(neuron, surrogate=Sigmoid(slope=9.0)) != neuron
