"""What one step of a neuron takes, from its equations.

A leaky filter ``y <- d y + x`` is a product with a constant and an addition; with d = 1 there is no
product, with d = 0 neither. Then come a comparison with the threshold and, for each spike, an
addition (or a selection) to reset. Constant gains on currents count nothing: potentials, thresholds
and resets in units of the gain leave every spike where it is.

=================  =======  =========  ===========  ================  =====
neuron             decays   additions  comparisons  resets per spike  state
=================  =======  =========  ===========  ================  =====
IF                 0        1          1            1                 1
LIF                1        1          1            1                 1
CubaLIF, AlphaLIF  2        2          1            1                 2
FixedPointLIF      2        2          1            1                 2
AdaptiveLIF        2        2          1            2                 2
LeakyIntegrator    1        1          0            0                 1
=================  =======  =========  ===========  ================  =====

The adaptive threshold is held in units of the potential, ``b = beta a``: it decays, is added to the
threshold, and a spike adds a constant to it. Rounding is no arithmetic.
"""

from typing import Any, NamedTuple

from torch import Tensor

from neuro.errors import UsageError
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF, LeakyIntegrator
from neuro.neurons.base import Dynamics, Scalar
from neuro.neurons.fixed_point import FixedPointLIF


class NeuronCost(NamedTuple):
    """Operations of one neuron in one step; ``resets`` for each spike."""

    decays: int
    additions: int
    comparisons: int
    resets: int
    state: int


_RESETS: dict[type[Dynamics[Any]], int] = {
    IF: 1,
    LIF: 1,
    CubaLIF: 1,
    AlphaLIF: 1,
    FixedPointLIF: 1,
    AdaptiveLIF: 2,
    LeakyIntegrator: 0,
}


def neuron_cost(neuron: Dynamics[Any], where: str) -> NeuronCost:
    """Return what a step takes.

    Args:
        neuron: of the package; one with equations of its own has costs of its own.
        where: the layer, for the message.

    Raises:
        UsageError: a neuron whose equations are not known here.
    """
    kind = type(neuron)
    if kind not in _RESETS:
        known = ", ".join(each.__name__ for each in _RESETS)
        raise UsageError(
            f"{where}: the operations of the neuron {kind.__name__} are not known; known are those "
            f"of {known}."
        )
    decays = [leaky.decay for leaky in neuron.filters]
    additions = sum(not _equals(decay, 0.0) for decay in decays)
    if isinstance(neuron, AdaptiveLIF):
        decays.append(neuron.adaptation_decay)
        additions += 1
    return NeuronCost(
        decays=sum(_multiplies(decay) for decay in decays),
        additions=additions,
        comparisons=0 if kind is LeakyIntegrator else 1,
        resets=_RESETS[kind],
        state=len(neuron.state_type._fields),
    )


def _multiplies(decay: Scalar) -> bool:
    return not (_equals(decay, 0.0) or _equals(decay, 1.0))


def _equals(decay: Scalar, number: float) -> bool:
    """Whether a decay is a constant of this value; one that was learnt is taken to be between."""
    return not isinstance(decay, Tensor) and decay == number
