"""Fused operations, each with a plain torch reference; knows nothing of networks or training.

Importing this package is cheap: a compiled implementation is imported when first chosen.
"""

from typing import Any

from neuro.kernels.arrivals.op import ARRIVALS, Arrivals, count_arrivals
from neuro.kernels.delayed_message.op import DELAYED_MESSAGE, delayed_message
from neuro.kernels.delayed_message.operands import DelayedMessage
from neuro.kernels.dispatch import Choice, Explanation, KernelError, Op, choose
from neuro.kernels.dispatch import explain as _explain
from neuro.kernels.event_conv2d.op import EVENT_CONV2D, event_conv2d
from neuro.kernels.event_linear.op import (
    EVENT_LINEAR,
    add_event_gradient,
    event_gradient,
    event_linear,
)
from neuro.kernels.lif.op import LIF, lif
from neuro.kernels.noise.op import NOISE, noise
from neuro.kernels.noise.stream import NoiseStream
from neuro.kernels.online_step.op import ONLINE_STEP, online_step
from neuro.kernels.online_step.operands import OnlineStep
from neuro.kernels.opzo.op import OPZO_UPDATE, opzo_response, opzo_update
from neuro.kernels.packed_spikes.op import PACKED_SPIKES, pack_spikes, unpack_spikes
from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.relational_spmm.op import (
    RELATIONAL_SPMM,
    Pna,
    relational_pna,
    relational_spmm,
)
from neuro.kernels.three_factor.op import (
    THREE_FACTOR,
    three_factor,
    three_factor_gradient,
    three_factor_into,
)

OPS: dict[str, Op[Any]] = {
    op.name: op
    for op in (
        LIF,
        NOISE,
        ONLINE_STEP,
        OPZO_UPDATE,
        PACKED_SPIKES,
        THREE_FACTOR,
        EVENT_LINEAR,
        EVENT_CONV2D,
        RELATIONAL_SPMM,
        DELAYED_MESSAGE,
        ARRIVALS,
    )
}


def explain() -> list[Explanation]:
    """Tell for every op and device which implementation serves it, and why the others do not."""
    return _explain(OPS.values())


__all__ = [
    "OPS",
    "Arrivals",
    "Choice",
    "DelayedMessage",
    "Explanation",
    "KernelError",
    "NoiseStream",
    "OnlineStep",
    "Op",
    "Pna",
    "RelationalGraph",
    "add_event_gradient",
    "choose",
    "count_arrivals",
    "delayed_message",
    "event_conv2d",
    "event_gradient",
    "event_linear",
    "explain",
    "lif",
    "noise",
    "online_step",
    "opzo_response",
    "opzo_update",
    "pack_spikes",
    "relational_pna",
    "relational_spmm",
    "three_factor",
    "three_factor_gradient",
    "three_factor_into",
    "unpack_spikes",
]
