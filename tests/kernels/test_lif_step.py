"""The LIF step: by hand, by law, and every implementation against the reference."""

import math
from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import KernelError, LIFStep, lif_step


@dataclass
class Call:
    """Operands of one step; ``run`` leaves them untouched and returns what the step made."""

    current: Tensor
    membrane_potential: Tensor
    trace: Tensor | None = None
    noise: Tensor | None = None
    parameters: dict = field(default_factory=lambda: {"decay": 0.5, "threshold": 1.0})

    def run(self) -> tuple[LIFStep, Tensor, Tensor | None]:
        potential = self.membrane_potential.clone()
        trace = None if self.trace is None else self.trace.clone()
        step = lif_step(self.current, potential, trace, self.noise, **self.parameters)
        return step, potential, trace


def tensor(*values: float) -> Tensor:
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("parameters", "emitted", "potential"),
    [
        # u = 0.5 * (0.5, 2, -1, 1) + (0.25, 0.5, 0, 0.5) = (0.5, 1.5, -0.5, 1)
        ({}, (0, 1, 0, 1), (0.5, 0.5, -0.5, 0.0)),
        ({"inclusive": False}, (0, 1, 0, 0), (0.5, 0.5, -0.5, 1.0)),
        ({"soft_reset": False, "reset_value": -2.0}, (0, 1, 0, 1), (0.5, -2.0, -0.5, -2.0)),
        ({"scale": 3.0}, (0, 3, 0, 3), (0.5, 0.5, -0.5, 0.0)),
    ],
)
def test_one_step_by_hand(implementation, parameters, emitted, potential):
    call = Call(
        tensor(0.25, 0.5, 0.0, 0.5),
        tensor(0.5, 2.0, -1.0, 1.0),
        trace=tensor(1.0, 1.0, 0.0, 0.0),
        parameters={"decay": 0.5, "threshold": 1.0, **parameters},
    )
    step, after, trace = call.run()
    spikes = tensor(*emitted) / parameters.get("scale", 1)
    assert step.emitted.tolist() == list(emitted)
    assert step.distance.tolist() == [-0.5, 0.5, -1.5, 0.0]
    assert after.tolist() == list(potential)
    assert trace.tolist() == (tensor(0.5, 0.5, 0, 0) + spikes).tolist()
    assert step.spike_count.item() == spikes.sum().item()
    assert step.spike_count.shape == ()


def test_noise_is_sent_on_but_not_stored(implementation):
    parameters = {"decay": 0.5, "threshold": 1.0, "scale": 2.0, "noise_scale": 0.5}
    call = Call(tensor(2.0, 0.0), tensor(0.0, 0.0), tensor(0.0, 0.0), tensor(3.0, -1.0), parameters)
    step, after, trace = call.run()
    assert step.emitted.tolist() == [2 * (1 + 1.5), 2 * (0 - 0.5)]
    assert after.tolist() == [1.0, 0.0]
    assert trace.tolist() == [1.0, 0.0]
    assert step.spike_count.item() == 1


def test_nothing_but_state_and_buffers_changes(implementation):
    current, noise = torch.randn(3, 7), torch.randn(3, 7)
    kept = current.clone(), noise.clone()
    Call(current, torch.zeros(3, 7), noise=noise).run()
    assert torch.equal(current, kept[0])
    assert torch.equal(noise, kept[1])


def test_given_buffers_are_filled_and_returned(implementation):
    emitted, distance = torch.empty(5), torch.empty(5)
    step = lif_step(
        torch.ones(5),
        torch.zeros(5),
        None,
        None,
        decay=0.5,
        threshold=1.0,
        out=(emitted, distance),
    )
    assert step.emitted is emitted
    assert step.distance is distance
    assert emitted.tolist() == [1.0] * 5
    assert distance.tolist() == [0.0] * 5


def test_non_finite_currents_stay_where_they_are(implementation):
    call = Call(tensor(math.nan, math.inf, -math.inf, 2.0), torch.zeros(4), torch.zeros(4))
    step, after, trace = call.run()
    assert step.emitted.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert trace.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert after.isnan().tolist() == [True, False, False, False]
    assert after[1:].tolist() == [math.inf, -math.inf, 1.0]


def both(call: Call) -> tuple[list[Tensor], list[Tensor]]:
    results = []
    for name in ("reference", "numba"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", name)
            step, potential, trace = call.run()
        results.append([*step, potential, *([] if trace is None else [trace])])
    return results[0], results[1]


def assert_equal(call: Call) -> None:
    expected, got = both(call)
    for wanted, found in zip(expected, got, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


def random_call(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Call:
    generator = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(shape, dtype=dtype, generator=generator)

    return Call(normal() * 2, normal(), normal(), normal())


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(), (1,), (63,), (500,), (0,), (3, 0, 2), (2, 3, 5, 7), (4099,)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
    with_trace=st.booleans(),
    with_noise=st.booleans(),
    parameters=st.fixed_dictionaries(
        {
            "decay": st.floats(0, 1),
            "threshold": st.floats(0.01, 3),
            "soft_reset": st.booleans(),
            "reset_value": st.floats(-1, 0.5),
            "inclusive": st.booleans(),
            "scale": st.sampled_from([1.0, 2.0, 0.3]),
            "noise_scale": st.floats(0, 1),
        }
    ),
)
def test_every_implementation_equals_the_reference(
    shape, dtype, seed, with_trace, with_noise, parameters
):
    call = random_call(shape, dtype, seed)
    call = replace(
        call,
        trace=call.trace if with_trace else None,
        noise=call.noise if with_noise else None,
        parameters=parameters,
    )
    assert_equal(call)


@settings(max_examples=20, deadline=None)
@given(inclusive=st.booleans(), soft_reset=st.booleans(), seed=st.integers(0, 2**31))
def test_exactly_at_the_threshold_all_agree(inclusive, soft_reset, seed):
    # Quarters are exact in binary, so that many potentials hit the threshold itself.
    generator = torch.Generator().manual_seed(seed)
    current = torch.randint(-8, 9, (257,), generator=generator) / 4
    call = Call(current, torch.zeros(257), torch.zeros(257))
    call.parameters |= {"inclusive": inclusive, "soft_reset": soft_reset}
    assert_equal(call)
    step, _, _ = call.run()
    wanted = current >= 1 if inclusive else current > 1
    assert torch.equal(step.emitted, wanted.float())


def test_many_threads_give_the_same_as_one():
    call = random_call((3, 1_000_003), torch.float32, 0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        assert_equal(call)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"membrane_potential": torch.zeros(3)}, "membrane_potential is .3,. torch.float32"),
        ({"noise": torch.zeros(4, dtype=torch.float64)}, "noise is .4,. torch.float64"),
        ({"trace": torch.zeros(8)[::2]}, "trace is not contiguous"),
        ({"current": torch.zeros(4, dtype=torch.int64)}, "current must be a floating dtype"),
        ({"current": torch.zeros(4, requires_grad=True)}, "current needs a gradient"),
    ],
)
def test_operands_that_do_not_fit_are_named(change, message):
    operands = {"current": torch.zeros(4), "membrane_potential": torch.zeros(4), "trace": None}
    operands |= {"noise": None} | change
    with pytest.raises(ValueError, match=message):
        lif_step(**operands, decay=0.5, threshold=1.0)


def test_a_dtype_the_named_implementation_does_not_serve_raises(monkeypatch):
    call = random_call((5,), torch.bfloat16, 0)
    call.run()
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="serves float32 and float64, not bfloat16"):
        call.run()
