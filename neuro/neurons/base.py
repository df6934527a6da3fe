"""What every neuron is: frozen parameters, a state passed in and out, ``step`` and ``sequence``.

One step is charge, fire, reset::

    charged = charge(current, state)               # integrate the input
    spikes  = H(distance(charged))                 # distance = membrane_potential - threshold
    state   = reset(charged, spikes)               # the state kept is the one AFTER the reset

Any ``float`` field (decay, threshold, gain ...) may be a Tensor instead: 0-d, or broadcastable to
the state (``[C, 1, 1]`` for one value a channel of ``[B, C, H, W]``), and gradients flow to it.
Tensor fields are not range-checked, for that would wait for the device at every step.

Learnable decays are kept between 0 and 1 by learning their logit, ``decay = sigmoid(logit)``
(Fang et al., ICCV 2021, the PLIF neuron: ``1/tau = sigmoid(w)``, so ``decay = sigmoid(-w)``)::

    logits = {name: nn.Parameter(x) for name, x in neuron.decay_logits().items()}
    spikes, state = neuron.with_decay_logits(logits).step(current, state)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import (
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    overload,
)

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.kernels import lif
from neuro.surrogate import Sigmoid, Surrogate

Scalar: TypeAlias = float | Tensor
DecayRule: TypeAlias = Literal["euler", "exponential"]
ResetMode: TypeAlias = Literal["soft", "hard"]


class NeuronState(Protocol):
    """A NamedTuple of tensors ``[B, ...]``, one of them the membrane potential."""

    @property
    def membrane_potential(self) -> Tensor: ...


class MembraneState(NamedTuple):
    """State of a neuron whose only variable is its membrane potential ``[B, ...]``."""

    membrane_potential: Tensor


State = TypeVar("State", bound=NeuronState)


class Filter(NamedTuple):
    """A leaky filter ``y[t] = decay * y[t-1] + gain * x[t]``."""

    decay: Scalar
    gain: Scalar


def leak(value: Tensor, drive: Tensor, decay: Scalar, gain: Scalar = 1.0) -> Tensor:
    """``decay * value + gain * drive``.

    Each product is rounded before it is added, as in every kernel: a fused multiply-add would
    round once, and a potential at the edge of the threshold could cross it on one machine only.
    """
    if isinstance(gain, Tensor) or gain != 1.0:
        drive = gain * drive
    return decay * value + drive


@overload
def decay_from_tau(tau: float, rule: DecayRule = "euler", *, dt: float = 1.0) -> float: ...
@overload
def decay_from_tau(tau: Tensor, rule: DecayRule = "euler", *, dt: float = 1.0) -> Tensor: ...
def decay_from_tau(tau: Scalar, rule: DecayRule = "euler", *, dt: float = 1.0) -> Scalar:
    """The factor a potential keeps in one step of a leak with time constant tau.

    ``euler``: ``1 - dt / tau`` (explicit Euler step); ``exponential``: ``exp(-dt / tau)`` (exact).

    Args:
        tau: time constant in the unit of ``dt``; a float, or a Tensor that may carry gradients.
            Euler needs ``tau >= dt``, exponential ``tau > 0``; a Tensor is not checked.
        rule: "euler" or "exponential".
        dt: duration of a step, > 0.

    Returns:
        The decay in [0, 1), a float or a Tensor as ``tau`` is.

    Raises:
        UsageError: unknown rule, or tau or dt out of range.
    """
    if rule not in ("euler", "exponential"):
        raise UsageError(f'decay rule must be "euler" or "exponential", got "{rule}"')
    if not (math.isfinite(dt) and dt > 0):
        raise UsageError(f"dt must be a positive finite number, got {dt}")
    if isinstance(tau, Tensor):
        return 1.0 - dt / tau if rule == "euler" else torch.exp(-dt / tau)
    if not tau > 0:
        raise UsageError(f"tau must be positive, got {tau}")
    if rule == "exponential":
        return math.exp(-dt / tau)
    if tau < dt:
        raise UsageError(
            f"tau must be at least dt for the euler rule (below, the decay is negative), got "
            f'tau {tau} and dt {dt}. Use a larger tau or the "exponential" rule'
        )
    return 1.0 - dt / tau


def decay_logit(decay: Scalar) -> Tensor:
    """``ln(decay / (1 - decay))``, which ``sigmoid`` maps back to the decay; needs (0, 1)."""
    values = torch.as_tensor(decay)
    if not bool(((values > 0) & (values < 1)).all()):
        raise UsageError(
            f"a learnable decay must start strictly between 0 and 1, got {decay}. "
            "A decay of 1 (no leak) or 0 (no memory) has no finite logit"
        )
    return torch.logit(values)


@dataclass(frozen=True, kw_only=True)
class Dynamics(ABC, Generic[State]):
    """A membrane that integrates its input over time: spiking (:class:`Neuron`) or a read-out."""

    state_type: ClassVar[type[Any]]
    """The NamedTuple this neuron keeps as its state."""

    decay_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that are decay factors and may be learnt through their logits."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if not isinstance(value, float | int):
                continue
            if not math.isfinite(value):
                raise self._refuse(spec.name, value, "finite")
            if spec.name in self.decay_fields and not 0 <= value <= 1:
                raise self._refuse(spec.name, value, "in [0, 1]")

    def _refuse(self, name: str, value: object, expected: str) -> UsageError:
        return UsageError(f"{type(self).__name__}.{name} must be {expected}, got {value}")

    def zeros(
        self,
        shape: Sequence[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The state at rest: every tensor zero, of the given shape ``[B, ...]``."""
        names = self.state_type._fields
        state: State = self.state_type(
            *(torch.zeros(tuple(shape), device=device, dtype=dtype) for _ in names)
        )
        return state

    @abstractmethod
    def charge(self, current: Tensor, state: State) -> State:
        """Integrate ``current [B, ...]`` for one step: the state before firing."""

    @abstractmethod
    def step(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        """One time step: ``current [B, ...]`` and state in, output ``[B, ...]`` and state out."""

    @property
    @abstractmethod
    def filters(self) -> tuple[Filter, ...]:
        """The cascade of leaky filters from input to membrane potential when resets are ignored.

        The first filter takes the input, each next one the output of the one before. An online rule
        runs the same cascade on presynaptic spikes to get the eligibility trace.
        """

    def sequence(self, currents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """T time steps: the same as T calls of :meth:`step`.

        Args:
            currents: ``[T, B, ...]``; T may be 0.
            state: where to start, tensors ``[B, ...]``; at rest when None.

        Returns:
            Outputs ``[T, B, ...]`` and the state after the last step.
        """
        if state is None:
            state = self.zeros(currents.shape[1:], device=currents.device, dtype=currents.dtype)
        outputs = []
        for current in currents:
            output, state = self.step(current, state)
            outputs.append(output)
        return (torch.stack(outputs) if outputs else torch.empty_like(currents)), state

    def decay_logits(self) -> dict[str, Tensor]:
        """``{field: logit}`` for every decay field, to be made learnable parameters.

        Each logit is 0-d for a float field and of the field's shape for a Tensor field, detached.

        Raises:
            UsageError: a decay of 0 or 1 has no finite logit.
        """
        return {name: decay_logit(getattr(self, name)).detach() for name in self.decay_fields}

    def with_decay_logits(self, logits: Mapping[str, Tensor]) -> Self:
        """This neuron with ``decay = sigmoid(logit)`` in each named field; gradients flow back.

        Raises:
            UsageError: a name that is no decay field of this neuron.
        """
        unknown = sorted(set(logits) - set(self.decay_fields))
        if unknown:
            raise UsageError(
                f"{type(self).__name__} has no decay field {', '.join(unknown)}; "
                f"it has: {', '.join(self.decay_fields) or 'none'}"
            )
        return replace(self, **{name: torch.sigmoid(logit) for name, logit in logits.items()})


_EQUATIONS = {"charge", "distance", "filters", "fire", "reset", "reset_potential", "step", "zeros"}


@dataclass(frozen=True, kw_only=True)
class Neuron(Dynamics[State]):
    """A spiking neuron: charge, fire, reset.

    Args:
        threshold: potential at which the neuron fires, > 0.
        reset_mode: "soft" subtracts the threshold, ``v = u - threshold * s``; "hard" sets the
            potential, ``v = u * (1 - s) + reset_value * s``.
        reset_value: potential after a hard reset; must be 0 for a soft one.
        detach_reset: whether the spike in the reset is a constant for autograd.
        inclusive: fire at ``u >= threshold`` (True) or only at ``u > threshold`` (False).
        surrogate: derivative used for the spike in backward.
    """

    threshold: Scalar = 1.0
    reset_mode: ResetMode = "soft"
    reset_value: Scalar = 0.0
    detach_reset: bool = True
    inclusive: bool = True
    surrogate: Surrogate = field(default_factory=Sigmoid)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_mode not in ("soft", "hard"):
            raise self._refuse("reset_mode", self.reset_mode, '"soft" or "hard"')
        if self.reset_mode == "soft" and (isinstance(self.reset_value, Tensor) or self.reset_value):
            raise self._refuse(
                "reset_value", self.reset_value, 'left 0 unless reset_mode is "hard"'
            )
        if not isinstance(self.threshold, Tensor) and not self.threshold > 0:
            raise self._refuse("threshold", self.threshold, "positive")

    def distance(self, charged: State) -> Tensor:
        """``membrane_potential - threshold``, the argument of the surrogate."""
        return charged.membrane_potential - self.threshold

    def fire(self, charged: State) -> Tensor:
        """Spikes (0 or 1) of a charged state, with the surrogate derivative in autograd."""
        return self.surrogate.spike(self.distance(charged), inclusive=self.inclusive)

    def kernel_numbers(self) -> dict[str, Any] | None:
        """Arguments with which :func:`neuro.kernels.lif` has this neuron's equations, if it does.

        Those beyond reset and surrogate, which :meth:`sequence` adds. A subclass that changes
        an equation leaves the kernel by itself.
        """
        return None

    def sequence(self, currents: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """T time steps at once: the same as T calls of :meth:`step`, bit for bit.

        The neurons of this package run in one fused kernel, see :func:`neuro.kernels.lif`; others,
        and surrogates of one's own, step by step. Currents in half precision are the exception to
        "bit for bit": between them the kernel keeps its state in single precision.
        """
        arguments = self.kernel_arguments()
        if arguments is None:
            return super().sequence(currents, state)
        names = self.state_type._fields
        if state is None:  # at rest: one zero, read for every neuron
            rest = currents.new_zeros(()).expand(currents.shape[1:])
            state = self.state_type(*(rest for _ in names))
        outputs = lif(
            currents,
            **{name: getattr(state, name) for name in names},
            **arguments,
            detach_reset=self.detach_reset,
        )
        after: State = self.state_type(*(getattr(outputs, name) for name in names))
        return outputs.spikes, after

    def kernel_arguments(self) -> dict[str, Any] | None:
        """Arguments, other than states, with which the kernels compute this neuron.

        None for a neuron or a surrogate with equations of its own.
        """
        return self._find_arguments() if self._has_tensors else self._arguments

    @cached_property
    def _has_tensors(self) -> bool:
        return any(isinstance(getattr(self, each.name), Tensor) for each in fields(self))

    @cached_property
    def _arguments(self) -> dict[str, Any] | None:
        """Of numbers alone: kept, for finding them takes as long as running a small layer."""
        return self._find_arguments()

    def _find_arguments(self) -> dict[str, Any] | None:
        numbers = self.kernel_numbers() if self._equations_are_the_kernels() else None
        surrogate = self.surrogate.kernel_name
        if numbers is None or surrogate is None:
            return None
        return {
            **numbers,
            "threshold": self.threshold,
            "reset_value": self.reset_value,
            "soft_reset": self.reset_mode == "soft",
            "inclusive": self.inclusive,
            "surrogate": surrogate,
            "sharpness": self.surrogate.sharpness,
        }

    @property
    def current_gain(self) -> Scalar:
        """Rise of the membrane potential per input current within a step: the product of the
        gains of :attr:`filters`."""
        gain: Scalar = 1.0
        for leaky in self.filters:
            gain = gain * leaky.gain
        return gain

    def _equations_are_the_kernels(self) -> bool:
        """Whether no subclass of the one that names the kernel has written an equation anew."""
        for owner in type(self).__mro__:
            if "kernel_numbers" in vars(owner):
                return True
            if _EQUATIONS & vars(owner).keys():
                return False
        return False

    @abstractmethod
    def reset(self, charged: State, spikes: Tensor) -> State:
        """The state kept for the next step, once ``spikes`` (0 or 1) have left."""

    def step(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        """One time step: charge, fire, reset. Returns spikes and the state after the reset."""
        charged = self.charge(current, state)
        spikes = self.fire(charged)
        return spikes, self.reset(charged, spikes)

    def reset_potential(self, potential: Tensor, spikes: Tensor, threshold: Scalar) -> Tensor:
        """The membrane potential after the reset; the one place where both resets are written."""
        if self.detach_reset:
            spikes = spikes.detach()
        if self.reset_mode == "soft":
            if isinstance(threshold, Tensor):
                return torch.addcmul(potential, spikes, threshold, value=-1.0)
            return torch.sub(potential, spikes, alpha=threshold)
        kept = torch.addcmul(potential, potential, spikes, value=-1.0)
        if isinstance(self.reset_value, Tensor):
            return torch.addcmul(kept, spikes, self.reset_value)
        return kept if self.reset_value == 0 else torch.add(kept, spikes, alpha=self.reset_value)
