"""The online step: against the neurons' own equations, and every implementation bit for bit."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import KernelError, NoiseStream, OnlineStep, noise, online_step
from neuro.kernels.online_step.op import _ONLINE_STEP
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF
from neuro.surrogate import ATan, FastSigmoid, Gaussian, Rectangle, Sigmoid, Triangle

STREAM = NoiseStream("gaussian", 11, 2, 5)


@dataclass
class Case:
    """A neuron and how its layer runs."""

    neuron: Any
    site: str | None = None
    kind: str = "gaussian"
    traced: bool = True
    given: bool = False
    options: dict[str, Any] = field(default_factory=dict)


HARD = {"reset_mode": "hard", "reset_value": -0.3}
CASES = {
    "if": Case(IF(surrogate=ATan())),
    "lif": Case(LIF(decay=0.7, input_gain=0.9, threshold=0.8), "post", options={"scale": 2.7}),
    "lif, no trace": Case(LIF(decay=0.7, surrogate=Triangle()), "post", "rademacher", False),
    "lif, before firing": Case(
        LIF(decay=0.7, inclusive=False, surrogate=Rectangle(), **HARD), "pre"
    ),
    "lif, spikes kept": Case(LIF(decay=0.5), options={"keep_spikes": True, "gain": 0.4}),
    "cuba_lif": Case(
        CubaLIF(current_decay=0.4, voltage_decay=0.8, input_gain=0.7, surrogate=FastSigmoid()),
        "post",
        options={"keep_spikes": True},
    ),
    "alpha_lif": Case(AlphaLIF(surrogate=Gaussian())),
    "lif, noise given": Case(LIF(decay=0.7), "post", given=True),
    "adaptive_lif": Case(AdaptiveLIF(decay=0.8, adaptation_decay=0.7, beta=0.6), "pre"),
    "adaptive_lif, e-prop": Case(
        AdaptiveLIF(decay=0.8, normalise_adaptation=False, subtract_adaptation=False), "post"
    ),
}


@dataclass
class Layer:
    """Operands of a step; ``run`` leaves them untouched."""

    case: Case
    current: Tensor
    state: Any
    traces: list[Tensor]
    strength: Tensor
    stream: NoiseStream = STREAM

    def run(self, device: str = "cpu") -> tuple[OnlineStep, list[Tensor]]:
        case = self.case
        state = [each.to(device, copy=True) for each in self.state]
        traces = [each.to(device, copy=True) for each in self.traces]
        injected: dict[str, Any] = {}
        if case.site:
            stream = self.stream._replace(kind=case.kind)
            injected = {"noise": stream, "noise_at": case.site}
            if case.given:
                injected["noise"] = noise(stream, self.current).to(device)
            injected["strength"] = self.strength.to(device)
        numbers = {
            name: each.to(device) if isinstance(each, Tensor) else each
            for name, each in case.neuron.kernel_arguments().items()
        }
        step = online_step(
            self.current.to(device),
            **dict(zip(self.state._fields, state, strict=True)),
            **numbers,
            traces=traces if case.traced else (),
            **injected,
            **case.options,
        )
        return OnlineStep(*(each.cpu() for each in step)), [each.cpu() for each in state + traces]


def draw_layer(case: Case, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Layer:
    generator = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    names = case.neuron.state_type._fields
    state = case.neuron.state_type(*(normal() for _ in names))
    traces = [normal() for _ in case.neuron.filters]
    strength = torch.rand(shape[0], generator=generator, dtype=torch.float64).to(dtype)
    return Layer(case, normal() * 2, state, traces, strength)


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_neurons_own(name):
    """Charge, fire and reset of the neuron; the trace filters spikes as the neuron its input."""
    case = CASES[name]
    layer = draw_layer(case, (3, 5, 4), torch.float64)
    step, after = layer.run()
    strong = layer.strength[:, None, None] * noise(STREAM._replace(kind=case.kind), layer.current)
    charged = case.neuron.charge(layer.current, layer.state)
    if case.site == "pre":
        moved = charged.membrane_potential + strong
        charged = charged._replace(membrane_potential=moved)
    spikes = case.neuron.fire(charged)
    state = case.neuron.reset(charged, spikes)
    traces = list(layer.traces)
    signal = spikes
    for k, leaky in enumerate(case.neuron.filters if case.traced else ()):
        signal = traces[k] = leaky.decay * traces[k] + signal
    for found, expected in zip(after, [*state, *traces], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)
    emitted = spikes + strong if case.site == "post" else spikes
    torch.testing.assert_close(step.emitted, emitted * case.options.get("scale", 1.0))
    psi = case.neuron.surrogate.derivative(case.neuron.distance(charged))
    torch.testing.assert_close(step.factor, psi * case.options.get("gain", 1.0))
    assert step.spike_count.item() == spikes.sum().item()
    assert step.spikes.tolist() == (spikes.tolist() if "keep_spikes" in case.options else [])


def assert_equal(layer: Layer, implementation: str, device: str = "cpu") -> None:
    found = []
    for name, where in (("reference", "cpu"), (implementation, device)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", name)
            found.append(layer.run(where))
    (expected, states), (step, others) = found
    for one, other in zip([*expected, *states], [*step, *others], strict=True):
        assert one.dtype == other.dtype
        if one is expected.factor:
            torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(one, other)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 7, 5), (1, 4099), (2, 2048), (0, 4), (3, 0)])
def test_numba_equals_the_reference(name, shape):
    for seed in range(3):
        assert_equal(draw_layer(CASES[name], shape, torch.float32, seed), "numba")


@pytest.mark.parametrize("name", ["lif", "cuba_lif"])
def test_numba_equals_the_reference_in_double_precision(name):
    assert_equal(draw_layer(CASES[name], (2, 1031), torch.float64), "numba")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triton_equals_the_reference(name, dtype, triton_device):
    for shape in ((3, 5), (2, 3, 7, 7), (0, 4)):
        assert_equal(draw_layer(CASES[name], shape, dtype), "triton", triton_device)


@pytest.mark.parametrize("implementation", ["numba", "triton"])
@pytest.mark.parametrize("field_shape", [(3, 1, 1), (3, 4, 5), (2, 1, 1, 1), (2, 3, 4, 5)])
def test_numbers_may_differ_from_neuron_to_neuron(implementation, field_shape, request):
    where = request.getfixturevalue("triton_device") if implementation == "triton" else "cpu"
    generator = torch.Generator().manual_seed(0)
    decay = torch.rand(field_shape, generator=generator)
    case = Case(LIF(decay=decay, threshold=0.5 + decay.flip(-3)), "post")
    assert_equal(draw_layer(case, (2, 3, 4, 5), torch.float32), implementation, where)


def test_exactly_at_the_threshold_all_agree():
    # Quarters are exact in binary, so that many potentials hit the threshold itself.
    current = torch.randint(-8, 9, (1, 257), generator=torch.Generator().manual_seed(0)) / 4
    for inclusive in (True, False):
        case = Case(LIF(decay=0.5, inclusive=inclusive), traced=False)
        layer = draw_layer(case, (1, 257), torch.float32)
        layer.current = current
        layer.state = case.neuron.zeros((1, 257))
        assert_equal(layer, "numba")
        fired = current >= 1 if inclusive else current > 1
        assert torch.equal(layer.run()[0].emitted, fired.float())


def test_non_finite_currents_stay_where_they_are(implementation):
    case = Case(LIF(decay=0.5))
    layer = draw_layer(case, (1, 4), torch.float32)
    layer.current = torch.tensor([[math.nan, math.inf, -math.inf, 2.0]])
    layer.state, layer.traces = case.neuron.zeros((1, 4)), [torch.zeros(1, 4)]
    step, (potential, trace) = layer.run()
    assert step.emitted.tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert step.spike_count == 2
    assert trace.tolist() == [[0.0, 1.0, 0.0, 1.0]]
    assert potential.isnan().tolist() == [[True, False, False, False]]
    assert potential[0, 1:].tolist() == [math.inf, -math.inf, 1.0]


def test_many_threads_give_the_same_as_one():
    layer = draw_layer(CASES["lif"], (7, 200_003), torch.float32)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        assert_equal(layer, "numba")
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"membrane_potential": torch.zeros(1, 3)}, r"membrane_potential is \(1, 3\)"),
        ({"traces": [torch.zeros(1, 4, dtype=torch.float64)]}, r"traces\[0\] is"),
        ({"traces": [torch.zeros(1, 8)[:, ::2]]}, r"traces\[0\] is not contiguous"),
        ({"traces": [torch.zeros(1, 4)] * 2}, "2 traces, this layer has 1"),
        ({"current": torch.zeros(1, 4, dtype=torch.int64)}, "must be float32 or float64"),
        ({"current": torch.zeros(1, 4, requires_grad=True)}, "current needs a gradient"),
        ({"surrogate": "step"}, "unknown surrogate 'step'"),
        ({"noise": torch.zeros(1, 3), "strength": torch.ones(1)}, r"noise is \(1, 3\)"),
        ({"noise": STREAM}, r"strength of the noise must be \(1,\)"),
        ({"noise": STREAM._replace(step=-1)}, "step of the noise"),
        ({"noise": STREAM, "strength": torch.ones(1), "noise_at": "mid"}, '"post" or "pre"'),
    ],
)
def test_operands_that_do_not_fit_are_named(change, message):
    operands = {"current": torch.zeros(1, 4), "membrane_potential": torch.zeros(1, 4)} | change
    with pytest.raises(ValueError, match=message):
        online_step(**operands, decay=0.5)


def test_a_dtype_that_is_not_served_is_told(monkeypatch):
    with pytest.raises(ValueError, match="bfloat16"):
        online_step(torch.zeros(1, 4).bfloat16(), torch.zeros(1, 4).bfloat16(), decay=0.5)
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="serves cpu tensors"):
        online_step(torch.zeros(1, 4, device="meta"), torch.zeros(1, 4, device="meta"), decay=0.5)


def test_the_operation_is_sound_and_compiles():
    layer = draw_layer(CASES["cuba_lif"], (2, 9), torch.float32)
    inside = [layer.current, layer.state.membrane_potential, layer.state.synaptic_current]
    absent = torch.empty(0)
    arguments = (
        *inside,
        absent,
        layer.traces[1],
        layer.traces[0],
        torch.tensor([1, 0, 0.8, 0.7, 0.4, 0, 0, 1]),
        [True, False, True, True, True, False, True],
        "sigmoid",
        4.0,
        layer.strength,
        absent,
        "gaussian",
        [11, 2, 5],
        1.0,
        1.0,
    )
    torch.library.opcheck(_ONLINE_STEP.op, arguments)

    def emitted(current: Tensor, potential: Tensor) -> Tensor:
        return online_step(current, potential, decay=0.5).emitted + 1

    compiled = torch.compile(emitted, fullgraph=True, backend="aot_eager")
    one, other = inside[1].clone(), inside[1].clone()
    assert torch.equal(compiled(layer.current, one), emitted(layer.current, other))
    assert torch.equal(one, other)
    assert not torch.equal(one, inside[1])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.sampled_from([(1, 1), (3, 2), (2, 61), (0, 4), (4, 0), (3,), (5, 3, 7, 2), (2, 2053)]),
    numbers=st.fixed_dictionaries(
        {
            "decay": st.floats(0, 1),
            "input_gain": st.floats(-2, 2),
            "threshold": st.floats(0.01, 3),
        }
    ),
    scale=st.sampled_from([1.0, 2.7]),
    sharpness=st.floats(0.1, 8),
    stream=st.builds(
        NoiseStream,
        kind=st.sampled_from(["gaussian", "rademacher"]),
        seed=st.integers(0, 2**63 - 1),
        layer=st.integers(0, 2**32 - 1),
        step=st.integers(0, 2**32 - 1),
    ),
)
def test_any_shape_and_numbers(shape, numbers, scale, sharpness, stream):
    case = Case(LIF(surrogate=Sigmoid(sharpness), **numbers), "post", stream.kind)
    case.options["scale"] = scale
    layer = draw_layer(case, shape, torch.float32, stream.step)
    layer.stream = stream
    assert_equal(layer, "numba")
