"""What rules with direct feedback share: delayed errors and blocks of positions."""

from abc import abstractmethod
from collections import deque
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.layers import Network
from neuro.learning.credit import Credit
from neuro.learning.feedback import Feedback
from neuro.learning.online import Moment, OnlineOptions, OnlineRule


@dataclass(frozen=True, kw_only=True)
class DirectOptions(OnlineOptions):
    """Options of rules that send the output error straight to every layer.

    Attributes:
        feedback_block: side of the square of positions that share feedback, one number per
            convolutional layer, or one for all; empty for none. Clipped to the layer.
        feedback_grid: the same by size of the result, whatever the network: positions share
            feedback in the smallest squares that leave at most this many along each side; None for
            none.
        feedback_delay: steps by which the error reaches hidden layers late.
    """

    feedback_block: tuple[int, ...] = ()
    feedback_grid: int | None = None
    feedback_delay: int = 0


class DirectRule(OnlineRule):
    """Base of rules with ``g_l[t] = M_l e[t - delay]``: subclasses say where ``M`` comes from."""

    def __init__(
        self, network: Network, options: DirectOptions, *, generator: torch.Generator
    ) -> None:
        super().__init__(network, options, generator=generator)
        if options.feedback_delay < 0:
            raise UsageError(f"rule.feedback_delay must be >= 0, got {options.feedback_delay}.")
        self._errors = LateErrors(options.feedback_delay)

    @abstractmethod
    def feedback_of(self, name: str) -> Feedback:
        """Return the feedback of layer ``name``."""

    def begin(self, batch_like: Tensor, timesteps: int, generator: torch.Generator) -> None:
        self._errors.clear()

    def credit(self, moment: Moment) -> dict[str, Credit]:
        delivered = self._errors.deliver(moment.error / moment.batch)
        if delivered is None:
            return {}
        return {name: self.feedback_of(name).send(delivered) for name in self.network.neuron_nodes}


class LateErrors:
    """Errors ``(B, m)`` on their way to the hidden layers; holds as many as the delay has steps."""

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._queue: deque[Tensor] = deque()

    def clear(self) -> None:
        """Start a sample: nothing is on its way."""
        self._queue.clear()

    def deliver(self, error: Tensor) -> Tensor | None:
        """Send this step's error; return the one that arrives now, None before the first."""
        self._queue.append(error)
        return self._queue.popleft() if len(self._queue) > self._delay else None


def blocks_of(network: Network, options: DirectOptions) -> dict[str, int]:
    """Return the feedback block of every spiking layer (1 for layers without positions).

    Raises:
        UsageError: if the list fits neither one nor all of the convolutional layers, or both ways
            to share are asked for.
    """
    names = list(network.neuron_nodes)
    spatial = [name for name in names if len(network.shapes[name]) == 3]
    blocks = dict.fromkeys(names, 1)
    grid = options.feedback_grid
    if grid is not None:
        if options.feedback_block or grid < 1:
            raise UsageError(
                "rule.feedback_grid must be >= 1 and stand without rule.feedback_block, "
                f"got {grid} and {list(options.feedback_block)}."
            )
        blocks.update({name: _block_for(network.shapes[name], grid) for name in spatial})
        return blocks
    sides = options.feedback_block or (1,)
    if len(sides) == 1:
        sides = sides * len(spatial)
    if len(sides) != len(spatial):
        raise UsageError(
            f"rule.feedback_block lists {len(sides)} sides for {len(spatial)} convolutional "
            "layers; give one number, or one per convolutional layer."
        )
    blocks.update(zip(spatial, sides, strict=True))
    return blocks


def random_feedback(
    network: Network,
    options: DirectOptions,
    scale: float,
    generator: torch.Generator,
    *,
    trainable: bool = False,
) -> nn.ModuleDict:
    """Return uniform feedback ``+-scale / sqrt(m)`` (Kaiming uniform, fan-in m) by layer."""
    matrices = nn.ModuleDict()
    for name, block in blocks_of(network, options).items():
        feedback = Feedback(network.shapes[name], network.classes, block, trainable=trainable)
        bound = scale * network.classes**-0.5
        with torch.no_grad():
            feedback.projection.uniform_(-bound, bound, generator=generator)
        matrices[name] = feedback
    return matrices


def _block_for(shape: tuple[int, ...], grid: int) -> int:
    """Return the smallest square that tiles ``(C, H, W)`` in at most ``grid`` rows and columns."""
    side = gcd(*shape[1:])
    return next(
        (b for b in range(1, side + 1) if side % b == 0 and max(shape[1:]) // b <= grid), side
    )
