"""Feedback matrices from noise drawn again: against noise written out, by every implementation."""

import pytest
import torch

from neuro.kernels import KernelError, NoiseStream, noise, opzo_response, opzo_update
from neuro.kernels.opzo.op import _RESPONSE, _UPDATE

STREAM = NoiseStream("gaussian", 21, 1, 4)
IMPLEMENTATIONS = ("reference", "numba", "triton")
# The last two are more than one tile of the CPU kernel, the first of them with a ragged end.
SHAPES = [(3, 5, 2), (1, 1, 1), (4, 801, 10), (0, 6, 3), (3, 0, 2), (60, 4999, 3), (2, 140_000, 2)]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
@pytest.mark.parametrize(("samples", "neurons", "outputs"), SHAPES)
def test_noise_is_that_of_the_stream(
    implementation, kind, samples, neurons, outputs, monkeypatch, request
):
    device = "cpu"
    if implementation == "triton":
        if samples * neurons > 10_000:
            pytest.skip("too slow in the interpreter")
        device = request.getfixturevalue("triton_device")
    stream = STREAM._replace(kind=kind)
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(outputs, neurons, generator=generator, dtype=torch.float64)
    o = torch.randn(samples, outputs, generator=generator, dtype=torch.float64)
    z = noise(stream, torch.empty(samples, neurons, dtype=torch.float64))
    monkeypatch.setenv("NEURO_KERNELS", implementation)
    for dtype, within in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        matrix = projection.to(device, dtype, copy=True)
        found = opzo_response(matrix, stream, samples).cpu().double()
        scale = max(neurons, 1) ** 0.5
        torch.testing.assert_close(found / scale, z @ projection.t() / scale, rtol=0, atol=within)
        opzo_update(matrix, o.to(device, dtype), stream, keep=0.9, factor=0.3)
        expected = 0.9 * projection + 0.3 * o.t() @ z
        assert matrix.dtype == dtype
        torch.testing.assert_close(matrix.cpu().double(), expected, rtol=0, atol=10 * within)


def test_many_threads_give_the_same_as_one(monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    threads = torch.get_num_threads()
    matrix = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    found = []
    try:
        for count in (1, 8):
            torch.set_num_threads(count)
            found.append(opzo_response(matrix, STREAM, 300))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projection": torch.zeros(3, 8)[:, ::2]}, "contiguous matrix"),
        ({"projection": torch.zeros(3, 8).half()}, "float32 or float64"),
        ({"outputs": torch.zeros(5, 2)}, r"outputs are \(5, 2\)"),
        ({"outputs": torch.zeros(5, 3).double()}, "float64"),
        ({"noise": STREAM._replace(seed=-2)}, "seed of the noise"),
    ],
)
def test_operands_that_do_not_fit_are_named(change, message):
    operands = {"projection": torch.zeros(3, 8), "outputs": torch.zeros(5, 3), "noise": STREAM}
    with pytest.raises(ValueError, match=message):
        opzo_update(**operands | change, keep=0.5, factor=1.0)


def test_an_implementation_that_cannot_serve_raises(monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="serves cpu tensors"):
        opzo_response(torch.zeros(3, 8, device="meta"), STREAM, 2)


def test_the_operations_are_sound_and_compile():
    matrix, o = torch.randn(3, 8), torch.randn(5, 3)
    torch.library.opcheck(_UPDATE.op, (matrix, o, *STREAM, 0.5, 1.0))
    torch.library.opcheck(_RESPONSE.op, (matrix, *STREAM, 5))

    def follow(projection: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        opzo_update(projection, outputs, STREAM, keep=0.5, factor=1.0)
        return opzo_response(projection, STREAM, 5)

    compiled = torch.compile(follow, fullgraph=True, backend="aot_eager")
    one, other = matrix.clone(), matrix.clone()
    assert torch.equal(compiled(one, o), follow(other, o))
    assert torch.equal(one, other)
