"""Events or the dense product: which of the two serves a call, by size and density.

A kernel that goes over events costs as much as there are events, the dense product always the
same. Both costs are told from the sizes before anything is computed; where they cross, measured by
``python -m benchmarks.synapses``, is the density above which the dense product serves. Below it
the inputs that are not zero are counted, in a sample of them: it takes a small part of either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import torch
from torch import Tensor

from neuro.kernels.dispatch import F, Op, asked_by_name, choose

MARGIN = 0.9
"""Events serve where they are expected to take at most this much of the time of the dense one."""
LEAST = 1e6
"""A dense product that takes less, in ns, is not worth looking for events."""


@dataclass(frozen=True)
class Cost:
    """Expected time of both ways through a layer, in ns of one thread; only ratios matter.

    Args:
        dense: the dense product.
        fixed: what events take where there are none.
        full: what they take more where every input is one.
    """

    dense: float
    fixed: float
    full: float

    @cached_property
    def crossing(self) -> float:
        """Density from 0 to 1 up to which events are faster; 0 where they never are."""
        if self.dense < LEAST or not self.full:
            return 0.0
        return min(max((MARGIN * self.dense - self.fixed) / self.full, 0.0), 1.0)


def _no_density(spikes: Tensor, limit: float) -> float:
    return 0.0


@dataclass(frozen=True)
class Ways(Generic[F]):
    """Both ways through a layer of one size.

    Args:
        events: what goes over events.
        dense: the dense product.
        crossing: density up to which events serve.
        estimate: tells the density of spikes, near enough to compare it with a limit.
    """

    events: F
    dense: F
    crossing: float = 1.0
    estimate: Callable[[Tensor, float], float] = _no_density

    def serving(self, spikes: Tensor) -> F:
        """Return the function that serves a call."""
        if self.crossing and self.estimate(spikes, self.crossing) <= self.crossing:
            return self.events
        return self.dense


def by_density(op: Op[F], device: torch.device, dtype: torch.dtype, cost: Cost) -> Ways[F]:
    """Return both ways of an op; keep it, for finding it takes as long as a small call.

    An implementation asked for by name serves at any density. What is kept holds as long as
    :func:`neuro.kernels.dispatch.request` returns the same.

    Raises:
        KernelError: ``NEURO_KERNELS`` names an implementation that cannot serve this call.
    """
    choice = choose(op, device, dtype)
    if choice.asked or choice.implementation.name == "reference":
        return Ways(choice.function, choice.reference)
    if not cost.crossing:
        return Ways(choice.function, choice.reference, 0.0)
    from neuro.kernels.density_estimate import estimate_density  # Numba: only where it may pay

    return Ways(choice.function, choice.reference, cost.crossing, estimate_density)


def note_by_density(examples: Callable[[], dict[str, Cost]]) -> Callable[[str, bool], str | None]:
    """Return what ``neuro doctor`` says of an op that is chosen by density."""

    def note(name: str, asked: bool) -> str | None:
        if name == "reference":
            return None
        if asked:
            return "events at any density: asked for by name"
        limits = ", ".join(
            f"{100 * cost.crossing:.0f} % at {size}" for size, cost in examples().items()
        )
        return f"the dense product above a density that goes with the size: {limits}"

    return note


def unmeasured_on_gpu(unavailable: Callable[[], str | None]) -> Callable[[], str | None]:
    """Return why events are not chosen on a GPU unless asked for by name."""

    def reason() -> str | None:
        if asked_by_name():
            return unavailable()
        return "on a GPU no crossing with the dense product is measured; ask for it by name"

    return reason
