"""Direct feedback: matrices that carry the output error straight to every hidden layer."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.kernels import opzo_response, opzo_update
from neuro.layers.linear_maps import average_pool, upsample
from neuro.learning.credit import Credit, SentBack
from neuro.learning.noise import LayerNoise


class Feedback(nn.Module):
    """One feedback matrix ``M`` of shape (neurons, m), ``g = M e``.

    It is held as ``projection = M^T`` ``(m, neurons)``, whose rows lie in memory like a layer's
    activity: both products with it then run along memory. ``matrix`` is the view ``(neurons, m)``.

    Neurons of a convolutional layer are counted with their positions, ``n = C H W``. With
    ``block > 1`` all positions of a ``block x block`` square share one row, so that M has
    ``C ceil(H/block) ceil(W/block)`` rows.

    Args:
        layer_shape: ``(N,)`` or ``(C, H, W)``.
        outputs: m, the number of output neurons.
        block: side of the squares that share a row; clipped to the layer's size.
        trainable: make the matrix a parameter, for feedback that an optimiser learns.

    Raises:
        UsageError: if the block is < 1 or does not divide the layer.
    """

    projection: Tensor

    def __init__(
        self, layer_shape: Sequence[int], outputs: int, block: int = 1, *, trainable: bool = False
    ) -> None:
        super().__init__()
        self.layer_shape = tuple(layer_shape)
        self.outputs = outputs
        spatial = self.layer_shape[1:]
        self.block = min(block, *spatial) if spatial else 1
        if self.block < 1 or any(side % self.block for side in spatial):
            raise UsageError(
                f"feedback blocks of side {block} do not tile a layer of shape {self.layer_shape}; "
                "take a divisor of its height and width."
            )
        self.grid = (*self.layer_shape[:1], *(side // self.block for side in spatial))
        start = torch.zeros(outputs, prod(self.grid))
        if trainable:
            self.projection = nn.Parameter(start)
        else:
            self.register_buffer("projection", start)

    @property
    def matrix(self) -> Tensor:
        """M, ``(neurons or rows, m)``."""
        return self.projection.t()

    def project(self, error: Tensor) -> Tensor:
        """Return ``g = M e``: ``(B, m) -> (B, *layer_shape)``."""
        credit = self.send(error)
        return credit.written_out() if isinstance(credit, SentBack) else credit

    def send(self, error: Tensor) -> Credit:
        """Return ``g = M e`` for an error ``(B, m)``, not written out where every neuron has a row
        of its own."""
        if self.block == 1:
            return SentBack(self.projection, error, self.layer_shape)
        return upsample((error @ self.projection).view(-1, *self.grid), self.block)

    def correlate(self, activity: Tensor, outputs: Tensor) -> Tensor:
        """Return ``mean_b o_b a_b^T`` in the shape of ``projection``.

        Args:
            activity: a, ``(B, *layer_shape)``; averaged over the positions that share a row.
            outputs: o, ``(B, m)``.
        """
        return (outputs / activity.shape[0]).t() @ self._rows(activity)

    def _rows(self, activity: Tensor) -> Tensor:
        if self.block > 1:
            activity = average_pool(activity, self.block)
        return activity.flatten(1)


class MomentumFeedback(Feedback):
    """Feedback that averages zeroth-order estimates of the Jacobian over time.

    With noise ``z`` injected at strength ``alpha`` and noisy logits ``o``, every update is::

        M_k = lam_k * M_{k-1} + (1 - lam_k) * gain * mean_b z_b o_b^T

    ``gain = 1/alpha`` makes ``E[M]`` the transposed Jacobian ``J^T`` of the smoothed network.
    ``lam_k`` is ``lam``, or ``min(lam, k / (k + ramp))`` while a ramp is asked for. With bias
    correction the matrix used is ``M_k / (1 - lam^k)``, as Adam does for its zero start.

    Source: OPZO (Xiao et al., arXiv 2407.12516), the momentum feedback connection. Zero start and
    bias correction are ours: the initial value is not public.

    Args:
        layer_shape, outputs, block: as for :class:`Feedback`.
        momentum: lam, in [0, 1).
        ramp: k0 of the ramp; 0 for none.
        bias_correction: divide by ``1 - lam^k``.
    """

    updates: Tensor
    weight_left: Tensor

    def __init__(
        self,
        layer_shape: Sequence[int],
        outputs: int,
        block: int = 1,
        *,
        momentum: float,
        ramp: int = 0,
        bias_correction: bool = False,
    ) -> None:
        super().__init__(layer_shape, outputs, block)
        self.momentum = momentum
        self.ramp = ramp
        self.bias_correction = bias_correction
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("weight_left", torch.ones((), dtype=torch.float64))

    def send(self, error: Tensor) -> Credit:
        if self.bias_correction and int(self.updates) > 0:
            error = error / (1 - float(self.weight_left))
        return super().send(error)

    def predict(self, noise: LayerNoise) -> Tensor:
        """Return ``z^T M``, what M says the noise adds to the outputs: ``(B, m)``."""
        if self.block == 1 and noise.held is None:
            return noise.scaled(opzo_response(self.projection, noise.stream, noise.samples))
        return self._rows(noise.values(self.projection)) @ self.projection.t() * self.block**2

    def absorb(self, noise: LayerNoise, outputs: Tensor, gain: float) -> None:
        """Take in one estimate, in place: ``M <- lam_k M + (1 - lam_k) gain mean_b z_b o_b^T``.

        Args:
            noise: z.
            outputs: o, ``(B, m)``.
            gain: factor on the estimate.
        """
        step = self._step()
        self._add(noise, outputs, keep=1 - step, factor=step * gain)
        self.weight_left *= 1 - step

    def correct(
        self, noise: LayerNoise, surprise: Tensor, gain: float, largest_step: float
    ) -> None:
        """Take in, in place, what M and its fellows did not explain of the outputs::

            M <- M + step * gain * mean_b z_b r_b^T        step = min(1 - lam_k, largest_step)

        The surprise ``r`` lacks ``z^T M``, so ``E[z z^T] = I`` makes the old matrix fade by
        ``1 - step`` as in :meth:`absorb`.

        Args:
            noise: z.
            surprise: r, ``(B, m)``.
            gain: factor on the estimate.
            largest_step: bound that keeps the regression stable.
        """
        step = min(self._step(), largest_step)
        self._add(noise, surprise, keep=1.0, factor=step * gain)
        self.weight_left *= 1 - step

    def _step(self) -> float:
        """Count an update and return its ``1 - lam_k``."""
        self.updates += 1
        if not self.ramp:
            return 1 - self.momentum
        count = int(self.updates)
        return 1 - min(self.momentum, count / (count + self.ramp))

    def _add(self, noise: LayerNoise, outputs: Tensor, *, keep: float, factor: float) -> None:
        factor /= noise.samples
        if self.block == 1 and noise.held is None:
            weighted = noise.scaled(outputs)
            opzo_update(self.projection, weighted, noise.stream, keep=keep, factor=factor)
            return
        rows = self._rows(noise.values(self.projection))
        self.projection.addmm_(outputs.t(), rows, beta=keep, alpha=factor)
