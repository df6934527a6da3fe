"""The update of OPZO's feedback matrices as operations of torch."""

from typing import Any, NamedTuple, Protocol, cast

from torch import Tensor

from neuro.kernels.compiled import DTYPES, numba_unavailable, triton_devices, triton_unavailable
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.noise.op import check_stream
from neuro.kernels.noise.stream import Kind, NoiseStream
from neuro.kernels.unrecorded import UnrecordedOp


class _Update(Protocol):
    def __call__(
        self, projection: Tensor, outputs: Tensor, stream: NoiseStream, keep: float, factor: float
    ) -> None: ...


class _Response(Protocol):
    def __call__(self, projection: Tensor, stream: NoiseStream, samples: int) -> Tensor: ...


class Functions(NamedTuple):
    """What one implementation offers."""

    update: _Update
    response: _Response


def _reference() -> Functions:
    from neuro.kernels.opzo.reference import response, update

    return Functions(update, response)


def _numba() -> Functions:
    from neuro.kernels.opzo.cpu import response, update

    return Functions(update, response)


def _triton() -> Functions:
    from neuro.kernels.opzo.gpu import response, update

    return Functions(update, response)


OPZO_UPDATE: Op[Any] = Op(
    "opzo_update",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, DTYPES, triton_unavailable),
        Implementation("reference", _reference, None, DTYPES),
    ),
)


def opzo_update(
    projection: Tensor, outputs: Tensor, noise: NoiseStream, *, keep: float, factor: float
) -> None:
    """Let a feedback matrix take in the correlation of outputs with the noise that made them.

    ::

        M <- keep * M + factor * sum_b z_b o_b^T

    In place, with ``projection = M^T`` ``(m, n)``. The noise ``z`` ``(B, n)`` of the stream is
    drawn again tile by tile. Source: OPZO (Xiao et al., arXiv 2407.12516), the momentum feedback.

    Args:
        projection: ``M^T``, contiguous, single or double precision.
        outputs: o, ``(B, m)``.
        noise: the stream; a layer of n neurons.
        keep: factor on the old matrix.
        factor: factor on the correlation, which is summed over the batch.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or the stream is out of range.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    _check("opzo_update", projection, noise)
    expected = (len(projection), projection.dtype, projection.device)
    if outputs.dim() != 2 or (outputs.shape[1], outputs.dtype, outputs.device) != expected:
        raise ValueError(
            f"opzo_update: outputs are {tuple(outputs.shape)} {outputs.dtype} on {outputs.device}, "
            f"the projection {tuple(projection.shape)} {projection.dtype} on {projection.device}"
        )
    _UPDATE(projection, outputs, *noise, float(keep), float(factor))


def opzo_response(projection: Tensor, noise: NoiseStream, samples: int) -> Tensor:
    """Return what a feedback matrix says the noise adds to the outputs, ``z^T M`` by sample.

    Args:
        projection: ``M^T``, ``(m, n)``, contiguous, single or double precision.
        noise: the stream; a layer of n neurons.
        samples: B.

    Returns:
        ``(B, m)``.

    Raises:
        ValueError: the projection is no such matrix, or the stream is out of range.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    _check("opzo_response", projection, noise)
    return cast(Tensor, _RESPONSE(projection, *noise, samples))


def _check(op: str, projection: Tensor, noise: NoiseStream) -> None:
    check_stream(noise, op)
    if projection.dim() != 2 or projection.dtype not in DTYPES or not projection.is_contiguous():
        raise ValueError(
            f"{op}: the projection must be a contiguous matrix in float32 or float64, got "
            f"{tuple(projection.shape)} {projection.dtype}, strides {projection.stride()}"
        )


def _update(
    projection: Tensor,
    outputs: Tensor,
    kind: str,
    seed: int,
    layer: int,
    step: int,
    keep: float,
    factor: float,
) -> None:
    stream = NoiseStream(cast(Kind, kind), seed, layer, step)
    functions = choose(OPZO_UPDATE, projection.device, projection.dtype).function
    functions.update(projection, outputs, stream, keep, factor)


def _response(
    projection: Tensor, kind: str, seed: int, layer: int, step: int, samples: int
) -> Tensor:
    stream = NoiseStream(cast(Kind, kind), seed, layer, step)
    functions = choose(OPZO_UPDATE, projection.device, projection.dtype).function
    found: Tensor = functions.response(projection, stream, samples)
    return found


def _nothing(*_: Any) -> None:
    return None


def _outputs(projection: Tensor, *arguments: Any) -> Tensor:
    return projection.new_empty(arguments[-1], len(projection))


_UPDATE = UnrecordedOp("neuro::opzo_update", _update, _nothing, mutates_args=("projection",))
_RESPONSE = UnrecordedOp("neuro::opzo_response", _response, _outputs)
