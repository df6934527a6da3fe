"""Packed spikes: the bits by hand, and exact round trips in every implementation."""

from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import KernelError, pack_spikes, unpack_spikes


def draw(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(shape, generator=generator) < 0.3).to(dtype) * scale


def round_trip(spikes: Tensor, scale: float) -> Tensor:
    bits = pack_spikes(spikes, scale=scale)
    assert bits.dtype == torch.uint8
    assert len(bits) == -(-spikes.numel() // 8)
    return unpack_spikes(bits, spikes.shape, dtype=spikes.dtype, scale=scale)


def test_bits_by_hand(implementation):
    spikes = torch.tensor([[0.5, 0, 0, 0.5, 0], [0, 0, 0.5, 0, 0.5]])
    bits = pack_spikes(spikes, scale=0.5)
    assert bits.tolist() == [0b10001001, 0b00000010]
    back = unpack_spikes(bits, (5, 2), dtype=torch.float64, scale=-3.0)
    assert back.tolist() == [[-3, 0], [0, -3], [0, 0], [0, -3], [0, -3]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 2.74, 1e-3, -0.1])
def test_round_trips_are_exact(implementation, scale, dtype):
    for shape in ((), (1,), (0,), (3, 0, 2), (7,), (8,), (9,), (5, 3, 11), (4, 128, 1031)):
        spikes = draw(*shape, scale=scale, dtype=dtype)
        back = round_trip(spikes, scale)
        assert torch.equal(back, spikes)
        assert back.is_contiguous()


def test_large_trains_are_shared_among_threads(implementation):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    spikes = draw(3, 700_001)
    try:
        assert torch.equal(round_trip(spikes, 1.0), spikes)
        for place in (0, 1_000_003, spikes.numel() - 1):
            spikes.view(-1)[place] = 2.0
            with pytest.raises(ValueError, match="1 of 2100003 entries"):
                pack_spikes(spikes)
            spikes.view(-1)[place] = 0.0
    finally:
        torch.set_num_threads(threads)


def test_rows_that_do_not_lie_in_order(implementation):
    spikes = draw(6, 7, 5).transpose(0, 2)
    assert torch.equal(round_trip(spikes, 1.0), spikes)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.booleans(), max_size=40), st.floats(2**-40, 2**40, width=32))
def test_implementations_have_equal_bits(fired, scale):
    spikes = torch.tensor(fired, dtype=torch.float32) * scale
    found = []
    for implementation in ("reference", "numba"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", implementation)
            found.append(pack_spikes(spikes, scale=scale))
            assert torch.equal(round_trip(spikes, scale), spikes)
    assert all(torch.equal(one, other) for one, other in pairwise(found))
    assert sum(byte.bit_count() for byte in found[0].tolist()) == sum(fired)


@pytest.mark.parametrize("stray", [2.0, -1.0, float("nan"), float("inf"), 1e-30])
@pytest.mark.parametrize("place", [0, 12, 18])
def test_an_entry_that_is_no_spike_is_refused(implementation, stray, place):
    spikes = torch.ones(19)
    spikes[place] = stray
    with pytest.raises(ValueError, match="1 of 19 entries are neither 0 nor 1;"):
        pack_spikes(spikes)


def test_the_scale_is_rounded_as_the_spikes_are(implementation):
    spikes = torch.tensor([0.0, 1.0]) * 2.74
    assert spikes[1].item() != 2.74
    assert torch.equal(round_trip(spikes, 2.74), spikes)


def test_half_precision_is_the_references(monkeypatch):
    spikes = draw(3, 13, dtype=torch.bfloat16) * 2.74
    assert torch.equal(round_trip(spikes, 2.74), spikes)
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        pack_spikes(spikes, scale=2.74)


def test_opcheck(implementation):
    spikes = draw(5, 3, scale=2.74)
    torch.library.opcheck(torch.ops.neuro.pack_spikes, (spikes, 2.74))
    operands = (pack_spikes(spikes, scale=2.74), [5, 3], torch.float32, 2.74)
    torch.library.opcheck(torch.ops.neuro.unpack_spikes, operands)


def test_compiles_without_a_break(implementation):
    def both(spikes: Tensor) -> tuple[Tensor, Tensor]:
        bits = pack_spikes(spikes * 2, scale=2.0)
        return bits, unpack_spikes(bits, spikes.shape, dtype=spikes.dtype) + 1

    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    spikes = draw(3, 7)
    for one, other in zip(compiled(spikes), both(spikes), strict=True):
        assert torch.equal(one, other)


def test_bits_carry_no_gradient(implementation):
    spikes = draw(4).requires_grad_()
    bits = pack_spikes(spikes)
    assert not bits.requires_grad
    assert not unpack_spikes(bits, (4,), dtype=torch.float32).requires_grad


@pytest.mark.parametrize(
    ("bits", "shape", "dtype", "message"),
    [
        (torch.zeros(1, dtype=torch.uint8), (9,), torch.float32, r"uint8 \(2,\), got"),
        (torch.zeros(2, dtype=torch.uint8), (4, 2), torch.float32, r"shape \(4, 2\)"),
        (torch.zeros(1), (8,), torch.float32, r"got torch\.float32"),
        (torch.zeros(4, dtype=torch.uint8)[::2], (16,), torch.float32, "contiguous"),
        (torch.zeros(1, dtype=torch.uint8), (8,), torch.int32, "dtype must be floating"),
    ],
)
def test_wrong_bits(bits, shape, dtype, message):
    with pytest.raises(ValueError, match=message):
        unpack_spikes(bits, shape, dtype=dtype)


def test_integers_are_no_spikes():
    with pytest.raises(ValueError, match=r"floating dtype, got torch\.int64"):
        pack_spikes(torch.ones(3, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_triton(triton_device, monkeypatch, dtype):
    for shape in ((0,), (1,), (3, 0), (17,), (5, 3, 71)):
        spikes = draw(*shape, dtype=dtype).to(triton_device) * 2.74
        bits = pack_spikes(spikes, scale=2.74)
        back = unpack_spikes(bits, shape, dtype=dtype, scale=2.74)
        assert torch.equal(back, spikes)
        monkeypatch.setenv("NEURO_KERNELS", "reference")
        assert torch.equal(pack_spikes(spikes, scale=2.74), bits)
        monkeypatch.setenv("NEURO_KERNELS", "triton")


@pytest.mark.parametrize("stray", [2.0, float("nan")])
@pytest.mark.parametrize("place", [0, 1024, 1030])
def test_triton_refuses_what_is_no_spike(triton_device, place, stray):
    spikes = draw(1031).to(triton_device)
    spikes[place] = stray
    with pytest.raises(ValueError, match="1 of 1031 entries"):
        pack_spikes(spikes)
