"""Noise from counters: known answers, its distribution, and every implementation bit for bit."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import KernelError, NoiseStream, noise
from neuro.kernels.noise.op import _NOISE
from neuro.kernels.noise.reference import philox

KINDS = ("gaussian", "rademacher")
STREAM = NoiseStream("gaussian", (77 << 40) + 5, 3, 9)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, words):
    first, second, third, fourth = counter
    found = philox(
        torch.tensor([first]), torch.tensor([second]), third, fourth, key[0] | key[1] << 32
    )
    assert tuple(int(word) for word in found) == words


def test_gaussian_noise_has_the_normal_distribution(implementation):
    z = noise(STREAM, torch.empty(64, 4001, dtype=torch.float64)).flatten()
    count = len(z)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert (z**power).mean().item() == pytest.approx(
            moment, abs=4.5 * math.sqrt(variance / count)
        )
    # Kolmogorov and Smirnov's distance; 1.95 / sqrt(n) is passed once in a thousand times.
    ideal = torch.special.ndtr(z.sort().values)
    steps = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    assert (ideal - steps).abs().max() < 1.95 / math.sqrt(count)
    assert 4 < z.abs().max() < 5.78


@pytest.mark.parametrize("kind", KINDS)
def test_entries_are_independent(kind):
    """Of the pair that shares two words, of samples, layers, steps and seeds."""
    like = torch.empty(512, 400, dtype=torch.float64)
    first = noise(STREAM._replace(kind=kind), like)
    pairs = [(first[:, :100], first[:, 100:200]), (first[:, 200:300], first[:, 300:])]
    pairs += [(first[:-1], first[1:]), (first[:, :-1], first[:, 1:])]
    for change in ({"layer": 4}, {"step": 8}, {"seed": STREAM.seed + 1}, {"seed": 5}):
        pairs.append((first, noise(STREAM._replace(kind=kind, **change), like)))
    for one, other in pairs:
        within = 4.5 / math.sqrt(one.numel())
        assert abs((one * other).mean()) < within
        assert abs((one.square() * other.square()).mean() - 1) < 3 * within


def everywhere(stream: NoiseStream, like: Tensor, device: str | None) -> list[Tensor]:
    found = []
    for name in ("reference", "numba", "triton")[: 3 if device else 2]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", name)
            where = like.to(device) if name == "triton" else like
            found.append(noise(stream, where).cpu())
    return found


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (3, 2), (2, 5), (0, 4), (4, 0), (3,), (5, 3, 7, 2), (2, 4099)]),
    stream=st.builds(
        NoiseStream,
        kind=st.sampled_from(KINDS),
        seed=st.integers(0, 2**63 - 1),
        layer=st.integers(0, 2**32 - 1),
        step=st.integers(0, 2**32 - 1),
    ),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_numba_equals_the_reference(shape, stream, dtype):
    first, second = everywhere(stream, torch.empty(shape, dtype=dtype), None)
    assert first.dtype == dtype
    assert first.shape == shape
    assert first.is_contiguous()
    assert torch.equal(first, second)
    assert not first.isnan().any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 7, 5), (1, 1301), (0, 3)])
def test_triton_equals_the_reference(kind, shape, triton_device):
    stream = NoiseStream(kind, 2**63 - 1, 2**32 - 1, 2**32 - 1)
    first, second, third = everywhere(stream, torch.empty(shape), triton_device)
    assert torch.equal(first, second)
    assert torch.equal(first, third)


def test_a_batch_is_the_start_of_a_larger_one(implementation):
    large = noise(STREAM, torch.empty(7, 33))
    assert torch.equal(noise(STREAM, torch.empty(3, 33)), large[:3])


def test_half_precision_holds_the_numbers_of_single(triton_device):
    like = torch.empty(3, 21, dtype=torch.bfloat16, device=triton_device)
    single = noise(STREAM, like.float())
    # Triton's interpreter cuts off where a GPU rounds.
    torch.testing.assert_close(noise(STREAM, like).float(), single, rtol=2**-7, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pink"}, "gaussian or rademacher, got 'pink'"),
        ({"seed": -1}, r"seed of the noise must lie in \[0, 2\^63\), got -1"),
        ({"layer": 2**32}, r"layer of the noise"),
        ({"step": -1}, r"step of the noise"),
    ],
)
def test_a_stream_out_of_range_is_told(change, message):
    with pytest.raises(ValueError, match=message):
        noise(STREAM._replace(**change), torch.empty(2, 3))


def test_only_floating_batches_have_noise(monkeypatch):
    with pytest.raises(ValueError, match="needs floating"):
        noise(STREAM, torch.zeros(2, 3, dtype=torch.int64))
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="not bfloat16"):
        noise(STREAM, torch.zeros(2, 3, dtype=torch.bfloat16))


def test_the_operation_is_sound_and_compiles():
    like = torch.empty(2, 9)
    torch.library.opcheck(_NOISE.op, (*STREAM, like))
    compiled = torch.compile(lambda x: noise(STREAM, x) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(like), noise(STREAM, like) + 1)
