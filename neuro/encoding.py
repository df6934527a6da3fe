"""Encodings: how an input becomes T time steps of currents or spikes.

``encode(x, timesteps, generator)`` yields ``x[0], ..., x[T-1]`` one at a time, so memory does not
grow with T. Wrong use is reported when ``encode`` is called, before the first step is drawn.

======= ======================== ======== =======================================================
name    class                    takes    yields
======= ======================== ======== =======================================================
direct  :class:`Direct`          anything the same tensor every step (constant current)
rate    :class:`PoissonRate`     [0, 1]   independent spikes with probability proportional to x
latency :class:`Latency`         [0, 1]   one spike, the earlier the larger x
delta   :class:`DeltaModulation` a series a spike where the series has moved by a threshold
======= ======================== ======== =======================================================
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from neuro.errors import UsageError


@dataclass(frozen=True)
class Encoding(ABC):
    """Turns one batch of inputs into a stream of T tensors."""

    @abstractmethod
    def encode(
        self, x: Tensor, timesteps: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Yield the input of each time step.

        Args:
            x: a batch of floating point inputs, ``[B, ...]`` (delta modulation: ``[B, T, ...]``).
            timesteps: T >= 1.
            generator: source of all randomness; only random encodings need it.

        Returns:
            Iterator over T tensors ``[B, *output_shape]`` of the dtype and device of ``x``. Spikes
            carry no gradient to ``x``.

        Raises:
            UsageError: the input, T or the generator does not fit the encoding.
        """

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one sample at one time step, given its shape before encoding (no B, no T)."""
        return input_shape


def _check(name: str, x: Tensor, timesteps: int) -> None:
    if isinstance(timesteps, bool) or not isinstance(timesteps, int) or timesteps < 1:
        raise UsageError(f"{name} needs timesteps to be a whole number >= 1, got {timesteps!r}")
    if not x.is_floating_point():
        raise UsageError(f"{name} needs a floating point input, got {x.dtype}. Scale it first")
    if x.ndim == 0:
        raise UsageError(f"{name} needs an input with a batch dimension [B, ...], got a scalar")


def _check_unit_interval(name: str, x: Tensor) -> None:
    if x.numel() == 0:
        return
    low, high = (float(bound) for bound in x.detach().aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails this too
        raise UsageError(
            f"{name} encodes intensities in [0, 1], got values from {low:g} to {high:g}. "
            "Leave the input unnormalised (scaled to [0, 1]), or use the direct encoding"
        )


@dataclass(frozen=True)
class Direct(Encoding):
    """Constant current: ``x[t] = x``. Every step yields the very tensor given, not a copy.

    Source: Rueckauer et al., "Conversion of continuous-valued deep networks to efficient
    event-driven networks for image classification", Frontiers in Neuroscience 11, 2017.
    """

    def encode(
        self, x: Tensor, timesteps: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        _check("direct encoding", x, timesteps)
        return (x for _ in range(timesteps))


@dataclass(frozen=True)
class PoissonRate(Encoding):
    """Rate code: ``P(s[t] = 1) = rate_scale * x``, independent over steps and elements.

    The spike count over T steps is binomial with mean ``T * rate_scale * x``: a Poisson process
    seen through bins that hold one spike at most.

    Args:
        rate_scale: firing probability per step of the largest intensity, in (0, 1].

    Source: Diehl & Cook, "Unsupervised learning of digit recognition using spike-timing-dependent
    plasticity", Frontiers in Computational Neuroscience 9, 2015 (rates proportional to intensity).
    """

    rate_scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate_scale <= 1:
            raise UsageError(f"PoissonRate.rate_scale must be in (0, 1], got {self.rate_scale}")

    def encode(
        self, x: Tensor, timesteps: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        _check("rate encoding", x, timesteps)
        _check_unit_interval("rate encoding", x)
        if generator is None:
            raise UsageError("rate encoding is random and needs a torch.Generator, got None")
        return self._steps(x.detach(), timesteps, generator)

    def _steps(self, x: Tensor, timesteps: int, generator: torch.Generator) -> Iterator[Tensor]:
        probability = x if self.rate_scale == 1 else x * self.rate_scale
        # Drawn where the generator lives, so that one seed gives one spike train on every device.
        home = generator.device
        # A float32 draw, whatever the dtype of x: half precision has too few values below 1.
        dtype = torch.promote_types(x.dtype, torch.float32)
        for _ in range(timesteps):
            uniform = torch.rand(x.shape, generator=generator, device=home, dtype=dtype)
            yield uniform.to(x.device).lt_(probability).to(x.dtype)


@dataclass(frozen=True)
class Latency(Encoding):
    """Time to first spike: one spike at step ``t(x)``, the earlier the larger x.

    For ``threshold <= x <= 1``, rounded to the nearest step (half to even)::

        linear   t(x) = (T - 1) * (1 - x) / (1 - threshold)
        log      t(x) = (T - 1) * ln(x) / ln(threshold)

    Either way x = 1 fires at step 0 and x = threshold at step T - 1; below the threshold nothing
    fires. The logarithmic form spends its steps evenly on ratios of intensities, so that a change
    of contrast shifts all spikes by the same time.

    Args:
        form: "linear" or "log".
        threshold: smallest intensity that fires, in [0, 1) for linear, (0, 1) for log.

    Source: Hopfield, "Pattern recognition computation using action potential timing for stimulus
    representation", Nature 376, 1995 (the logarithmic form).
    """

    form: Literal["linear", "log"] = "linear"
    threshold: float = 0.01

    def __post_init__(self) -> None:
        if self.form not in ("linear", "log"):
            raise UsageError(f'Latency.form must be "linear" or "log", got "{self.form}"')
        allowed = 0 <= self.threshold < 1 and (self.form == "linear" or self.threshold > 0)
        if not allowed:
            interval = "[0, 1)" if self.form == "linear" else "(0, 1)"
            raise UsageError(
                f"Latency.threshold must be in {interval} for the {self.form} form, "
                f"got {self.threshold}"
            )

    def encode(
        self, x: Tensor, timesteps: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        _check("latency encoding", x, timesteps)
        _check_unit_interval("latency encoding", x)
        return self._steps(x.detach(), timesteps)

    def _steps(self, x: Tensor, timesteps: int) -> Iterator[Tensor]:
        fire_at = self.spike_times(x, timesteps)
        for t in range(timesteps):
            yield fire_at.clone().eq_(t)

    def spike_times(self, x: Tensor, timesteps: int) -> Tensor:
        """The step at which each element fires, -1 where it never does.

        Args:
            x: intensities in [0, 1], any shape.
            timesteps: T >= 1.

        Returns:
            Whole numbers in {-1, 0, ..., T - 1} in a floating point tensor of the shape of ``x``.
        """
        if self.form == "linear":
            fraction = (1 - x) / (1 - self.threshold)
        else:
            fraction = torch.log(x) / math.log(self.threshold)
        times = (fraction * (timesteps - 1)).round()
        return times.masked_fill(x < self.threshold, -1.0)


DeltaChannels: TypeAlias = Literal["on_off", "signed"]


@dataclass(frozen=True)
class DeltaModulation(Encoding):
    """Spikes where a time series has moved away from what was last told.

    A reference follows the series in steps of the threshold (per element)::

        r[0]   = x[0]                                    (step 0 is silent)
        on[t]  = 1 if x[t] - r[t-1] >=  threshold else 0
        off[t] = 1 if x[t] - r[t-1] <= -threshold else 0
        r[t]   = r[t-1] + threshold * (on[t] - off[t])

    So ``x[0] + threshold * sum (on - off)`` rebuilds the series to within one threshold as long as
    it moves by at most one threshold a step; a faster slope is caught up with one spike a step.

    Args:
        threshold: change that makes a spike, > 0, in the unit of the input.
        channels: "on_off" puts ON spikes before OFF spikes along the first dimension of the sample,
            ``[B, C, ...] -> [B, 2C, ...]``; "signed" keeps the shape and yields +1, -1 or 0.

    Source: Lichtsteiner, Posch & Delbruck, "A 128x128 120 dB 15 us latency asynchronous temporal
    contrast vision sensor", IEEE Journal of Solid-State Circuits 43(2), 2008 (the principle, there
    in continuous time).
    """

    threshold: float = 0.1
    channels: DeltaChannels = "on_off"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise UsageError(
                f"DeltaModulation.threshold must be positive and finite, got {self.threshold}"
            )
        if self.channels not in ("on_off", "signed"):
            raise UsageError(
                f'DeltaModulation.channels must be "on_off" or "signed", got "{self.channels}"'
            )

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.channels == "signed":
            return input_shape
        if not input_shape:
            raise UsageError(
                "delta encoding with on_off channels needs samples with at least one dimension, "
                'got scalars. Add one, or use channels="signed"'
            )
        return (2 * input_shape[0], *input_shape[1:])

    def encode(
        self, x: Tensor, timesteps: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        _check("delta encoding", x, timesteps)
        if x.ndim < 2 or x.shape[1] != timesteps:
            raise UsageError(
                "delta encoding tells the changes of a time series and needs an input "
                f"[B, T, ...] with T = timesteps = {timesteps}, got shape {tuple(x.shape)}. "
                "For static inputs use the direct, rate or latency encoding"
            )
        self.output_shape(tuple(x.shape[2:]))
        return self._steps(x.detach())

    def _steps(self, x: Tensor) -> Iterator[Tensor]:
        reference = x[:, 0].clone()
        for value in x.unbind(1):
            change = value - reference
            on = change.clone().ge_(self.threshold)
            off = change.le_(-self.threshold)
            signed = on - off
            reference = torch.add(reference, signed, alpha=self.threshold)
            yield signed if self.channels == "signed" else torch.cat((on, off), dim=1)


ENCODINGS: dict[str, type[Encoding]] = {
    "direct": Direct,
    "rate": PoissonRate,
    "latency": Latency,
    "delta": DeltaModulation,
}
