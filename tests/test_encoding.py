"""Encodings: values by hand, statistics with a fixed seed, laws, and clear refusals."""

import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.encoding import (
    ENCODINGS,
    DeltaModulation,
    Direct,
    Encoding,
    Latency,
    PoissonRate,
)
from neuro.errors import NeuroError, UsageError

CASES: list[Encoding] = [
    Direct(),
    PoissonRate(),
    PoissonRate(rate_scale=0.3),
    Latency(),
    Latency(form="log", threshold=0.1),
    DeltaModulation(),
    DeltaModulation(channels="signed"),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(encoding: Encoding, timesteps: int, sample: tuple[int, ...], rows: int = 2) -> Tensor:
    """A batch in [0, 1] that the encoding takes: [B, *sample], or [B, T, *sample] for a series."""
    time = (timesteps,) if isinstance(encoding, DeltaModulation) else ()
    return torch.rand((rows, *time, *sample), generator=generator(7))


def stacked(encoding: Encoding, x: Tensor, timesteps: int, seed: int = 0) -> Tensor:
    return torch.stack(list(encoding.encode(x, timesteps, generator(seed))))


def test_every_encoding_has_a_case() -> None:
    assert {type(case) for case in CASES} == set(ENCODINGS.values())


@pytest.mark.parametrize("encoding", CASES, ids=str)
@given(
    timesteps=st.integers(1, 7),
    rows=st.integers(0, 3),
    sample=st.lists(st.sampled_from([1, 2, 3, 7]), min_size=1, max_size=3).map(tuple),
)
@settings(max_examples=25, deadline=None)
def test_yields_one_tensor_a_step_of_the_announced_shape(
    encoding: Encoding, timesteps: int, rows: int, sample: tuple[int, ...]
) -> None:
    x = batch(encoding, timesteps, sample, rows).double()
    steps = list(encoding.encode(x, timesteps, generator()))
    assert len(steps) == timesteps
    for step in steps:
        assert step.shape == (rows, *encoding.output_shape(sample))
        assert step.dtype == x.dtype


@pytest.mark.parametrize("encoding", CASES, ids=str)
def test_input_is_left_alone(encoding: Encoding) -> None:
    x = batch(encoding, 5, (3,))
    before = x.clone()
    stacked(encoding, x, 5)
    assert torch.equal(x, before)


@pytest.mark.parametrize("encoding", [c for c in CASES if not isinstance(c, Direct)], ids=str)
def test_a_spiking_step_is_freed_once_the_next_is_drawn(encoding: Encoding) -> None:
    steps = encoding.encode(batch(encoding, 9, (4,)), 9, generator())
    alive: list[weakref.ref[Tensor]] = []
    for _ in range(9):
        alive.append(weakref.ref(next(steps)))
        assert sum(reference() is not None for reference in alive) <= 1


@pytest.mark.parametrize("encoding", CASES, ids=str)
def test_same_seed_same_stream(encoding: Encoding) -> None:
    x = batch(encoding, 5, (11,))
    assert torch.equal(stacked(encoding, x, 5, seed=3), stacked(encoding, x, 5, seed=3))


@pytest.mark.parametrize("timesteps", [0, -1, 2.0, True])
@pytest.mark.parametrize("encoding", CASES, ids=str)
def test_timesteps_must_be_a_positive_whole_number(encoding: Encoding, timesteps: int) -> None:
    with pytest.raises(UsageError, match="timesteps to be a whole number >= 1"):
        encoding.encode(torch.zeros(2, 1, 3), timesteps, generator())


@pytest.mark.parametrize("encoding", CASES, ids=str)
def test_whole_number_inputs_are_refused(encoding: Encoding) -> None:
    with pytest.raises(UsageError, match="floating point"):
        encoding.encode(torch.zeros(2, 4, 3, dtype=torch.uint8), 4, generator())


@pytest.mark.parametrize("encoding", CASES, ids=str)
def test_an_input_without_batch_is_refused(encoding: Encoding) -> None:
    with pytest.raises(UsageError, match="batch dimension"):
        encoding.encode(torch.tensor(0.5), 1, generator())


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan, math.inf])
@pytest.mark.parametrize("encoding", [PoissonRate(), Latency(), Latency("log")], ids=str)
def test_intensities_outside_zero_to_one_are_refused_at_once(
    encoding: Encoding, bad: float
) -> None:
    x = torch.tensor([[0.5, bad]])
    with pytest.raises(NeuroError, match=r"encodes intensities in \[0, 1\], got values from"):
        encoding.encode(x, 4, generator())


def test_direct_yields_the_very_tensor_each_step() -> None:
    x = torch.randn(3, 5, requires_grad=True)
    assert all(step is x for step in Direct().encode(x, 4))


# -- rate ------------------------------------------------------------------------------------------


def test_rate_fires_with_probability_scale_times_intensity() -> None:
    x = torch.tensor([[0.0, 0.1, 0.5, 0.9, 1.0]]).expand(400, 5)
    timesteps, scale = 50, 0.8
    spikes = stacked(PoissonRate(scale), x, timesteps)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    count = timesteps * 400
    expected = scale * x[0]
    deviation = (spikes.mean(dim=(0, 1)) - expected).abs()
    # Four standard deviations of a binomial mean; exact where the probability is 0.
    assert (deviation <= 4 * (expected * (1 - expected) / count).sqrt()).all()


def test_rate_is_certain_at_zero_and_at_one() -> None:
    spikes = stacked(PoissonRate(), torch.tensor([[0.0, 1.0]]).expand(1000, 2), 20)
    assert spikes[..., 0].sum() == 0
    assert spikes[..., 1].mean() == 1


def test_rate_is_independent_from_step_to_step_and_element_to_element() -> None:
    spikes = stacked(PoissonRate(), torch.full((1, 20_000), 0.5), 2)[:, 0]
    later = ((spikes[0] - 0.5) * (spikes[1] - 0.5)).mean() * 4
    beside = ((spikes[0, 1:] - 0.5) * (spikes[0, :-1] - 0.5)).mean() * 4
    bound = 4 / math.sqrt(20_000)  # four standard deviations of a sample correlation
    assert abs(later) < bound
    assert abs(beside) < bound


def test_rate_counts_have_the_variance_of_a_binomial() -> None:
    timesteps, p = 20, 0.3
    counts = stacked(PoissonRate(), torch.full((1, 20_000), p, dtype=torch.float64), timesteps).sum(
        0
    )
    expected = timesteps * p * (1 - p)
    # The sample variance of n nearly normal counts has a relative deviation of sqrt(2 / n).
    assert counts.var().item() == pytest.approx(expected, rel=4 * math.sqrt(2 / 20_000))


def test_rate_of_a_tiny_intensity_in_half_precision_is_not_rounded_up() -> None:
    x = torch.full((1, 200_000), 2.0**-12, dtype=torch.float16)
    spikes = stacked(PoissonRate(), x, 2)
    mean, count = 2.0**-12, 400_000
    assert spikes.dtype == torch.float16
    assert spikes.double().mean().item() == pytest.approx(mean, abs=4 * math.sqrt(mean / count))


def test_rate_advances_the_generator_it_is_given() -> None:
    source = generator(5)
    x = torch.full((1, 100), 0.5)
    first = torch.stack(list(PoissonRate().encode(x, 3, source)))
    second = torch.stack(list(PoissonRate().encode(x, 3, source)))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_rate_without_a_generator_is_refused() -> None:
    with pytest.raises(UsageError, match=r"needs a torch\.Generator"):
        PoissonRate().encode(torch.zeros(1, 1), 2)


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.5, math.nan])
def test_a_rate_scale_outside_its_range_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match="rate_scale must be in"):
        PoissonRate(scale)


# -- latency ---------------------------------------------------------------------------------------


def test_linear_latency_by_hand() -> None:
    x = torch.tensor([[1.0, 0.8, 0.5, 0.2, 0.19, 0.0]])
    # T = 5, threshold 0.2: t = 4 (1 - x) / 0.8 = 0, 1, 2.5 -> 2, 4, silent, silent.
    encoding = Latency(form="linear", threshold=0.2)
    assert encoding.spike_times(x, 5).tolist() == [[0, 1, 2, 4, -1, -1]]
    expected = torch.zeros(5, 1, 6)
    for step, element in ((0, 0), (1, 1), (2, 2), (4, 3)):
        expected[step, 0, element] = 1
    assert torch.equal(stacked(encoding, x, 5), expected)


def test_log_latency_by_hand() -> None:
    x = torch.tensor([[1.0, 0.5, 0.25, 0.125, 0.1, 0.0625, 0.06, 0.0]], dtype=torch.float64)
    # T = 9, threshold 1/16: t = 8 log2(1/x) / 4; 0.1 lies at 6.64.
    times = Latency(form="log", threshold=1 / 16).spike_times(x, 9)
    assert times.tolist() == [[0, 2, 4, 6, 7, 8, -1, -1]]


def test_log_latency_delays_every_spike_alike_when_contrast_halves() -> None:
    encoding = Latency(form="log", threshold=1 / 1024)
    x = torch.tensor([1.0, 0.5, 0.25, 0.0625], dtype=torch.float64)
    delay = encoding.spike_times(x / 2, 11) - encoding.spike_times(x, 11)
    assert delay.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("encoding", [Latency(), Latency(threshold=0.0), Latency("log")], ids=str)
@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20),
    timesteps=st.integers(1, 13),
)
@settings(deadline=None)
def test_latency_fires_once_from_the_threshold_up_and_earlier_for_more(
    encoding: Latency, values: list[float], timesteps: int
) -> None:
    x = torch.tensor([sorted(values)])
    spikes = stacked(encoding, x, timesteps)
    assert torch.equal(spikes.sum(0), (x >= encoding.threshold).float())
    times = encoding.spike_times(x, timesteps)[x >= encoding.threshold]
    assert (times.diff() <= 0).all()
    assert ((times >= 0) & (times < timesteps)).all()


@pytest.mark.parametrize(("form", "threshold"), [("log", 0.0), ("linear", 1.0), ("linear", -0.1)])
def test_a_latency_threshold_outside_its_range_is_refused(form: str, threshold: float) -> None:
    with pytest.raises(UsageError, match=r"Latency\.threshold must be in"):
        Latency(form, threshold)  # type: ignore[arg-type]


def test_an_unknown_latency_form_is_refused() -> None:
    with pytest.raises(UsageError, match=r'must be "linear" or "log", got "cubic"'):
        Latency("cubic")  # type: ignore[arg-type]


# -- delta modulation ------------------------------------------------------------------------------

SERIES = torch.tensor([[[0.0], [0.25], [0.5], [2.0], [2.0], [-1.0], [-1.0]]])
SIGNED = [0, 0, 1, 1, 1, -1, -1]  # threshold 0.5; reference 0, 0, .5, 1, 1.5, 1, .5


def test_delta_modulation_by_hand() -> None:
    signed = stacked(DeltaModulation(0.5, "signed"), SERIES, 7)
    assert signed[:, 0, 0].tolist() == SIGNED
    on_off = stacked(DeltaModulation(0.5), SERIES, 7)
    assert on_off[:, 0, 0].tolist() == [max(s, 0) for s in SIGNED]
    assert on_off[:, 0, 1].tolist() == [max(-s, 0) for s in SIGNED]


def test_delta_modulation_puts_all_on_channels_before_all_off_channels() -> None:
    x = torch.zeros(1, 2, 3, 1, 1)
    x[0, 1, 0] = 1.0
    x[0, 1, 2] = -1.0
    step = stacked(DeltaModulation(0.5), x, 2)[1]
    assert step.flatten().tolist() == [1, 0, 0, 0, 0, 1]


def test_a_constant_series_is_silent() -> None:
    assert stacked(DeltaModulation(0.01), torch.full((2, 6, 3), 0.7), 6).sum() == 0


@given(
    moves=st.lists(st.floats(-1, 1), min_size=1, max_size=30),
    start=st.floats(-5, 5),
    threshold=st.floats(0.05, 3.0),
)
@settings(deadline=None)
def test_delta_spikes_rebuild_a_series_of_bounded_slope(
    moves: list[float], start: float, threshold: float
) -> None:
    steps = torch.tensor([0.0, *moves], dtype=torch.float64) * threshold
    series = start + steps.cumsum(0)
    x = series.reshape(1, -1, 1)
    signed = stacked(DeltaModulation(threshold, "signed"), x, len(series))[:, 0, 0]
    rebuilt = start + threshold * signed.cumsum(0)
    # 1e-9 covers rounding over 30 steps in float64.
    assert ((series - rebuilt).abs() <= threshold + 1e-9).all()


def test_delta_modulation_of_static_inputs_says_what_to_use_instead() -> None:
    with pytest.raises(
        UsageError, match=r"\[B, T, \.\.\.\] with T = timesteps = 6.*\(2, 3, 8, 8\)"
    ):
        DeltaModulation().encode(torch.zeros(2, 3, 8, 8), 6)
    with pytest.raises(UsageError, match="direct, rate or latency"):
        DeltaModulation().encode(torch.zeros(6), 6)


def test_on_off_channels_need_a_dimension_to_double() -> None:
    x = torch.tensor([[0.0, 1.0, 1.0]])
    with pytest.raises(UsageError, match="at least one dimension"):
        DeltaModulation(0.5).encode(x, 3)
    assert stacked(DeltaModulation(0.5, "signed"), x, 3).flatten().tolist() == [0, 1, 1]


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_a_delta_threshold_that_is_not_positive_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=r"DeltaModulation\.threshold must be positive"):
        DeltaModulation(threshold)


def test_unknown_delta_channels_are_refused() -> None:
    with pytest.raises(UsageError, match='must be "on_off" or "signed"'):
        DeltaModulation(0.1, "both")  # type: ignore[arg-type]


def test_spikes_carry_no_gradient() -> None:
    x = torch.rand(2, 4, 3).requires_grad_()
    for encoding in (PoissonRate(), Latency(), DeltaModulation()):
        assert not any(step.requires_grad for step in encoding.encode(x, 4, generator()))
