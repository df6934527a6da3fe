"""Feedback matrices: what errors take on their way through them, and what moves them."""

from collections.abc import Sequence
from math import ceil, prod

from neuro.energy.training.batch import LOSS, Batch
from neuro.energy.training.parts import Tally
from neuro.learning.direct import blocks_of
from neuro.learning.dkp import DKPOptions
from neuro.learning.opzo import OPZOOptions


class FeedbackMatrices:
    """Those of a rule that sends errors straight to layers.

    Args:
        batch: that is counted.
        below: layers that errors of the middle layer reach by matrices of their own.
        holds_noise: whether the device keeps noise from one use to the next.
    """

    def __init__(self, batch: Batch, below: Sequence[str], *, holds_noise: bool) -> None:
        self._batch, self._options = batch, batch.options
        self._blocks = blocks_of(batch.network, batch.options)
        self._outputs = batch.network.classes
        self._below = list(below)
        self._holds_noise = holds_noise

    @property
    def all(self) -> list[str]:
        """The layer of each matrix."""
        return [*self._blocks, *self._below]

    @property
    def numbers(self) -> int:
        """Of all matrices."""
        return sum(map(self.size, self.all))

    def rows(self, name: str) -> int:
        """Rows of a layer's matrix: positions of a block share one."""
        spatial = self._batch.shapes[name][1:]
        side = min(self._blocks[name], *spatial) if spatial else 1
        return self._batch.neurons(name) // prod(side for _ in spatial)

    def size(self, name: str) -> int:
        """Numbers of a layer's matrix."""
        return self.rows(name) * self._outputs

    def is_plain(self, name: str) -> bool:
        """Whether every neuron has a row of its own."""
        return self.rows(name) == self._batch.neurons(name)

    @property
    def moves(self) -> int:
        """How often a batch of OPZO moves each matrix; one past the freezing moves none."""
        options, steps = self._options, self._batch.timesteps
        if not isinstance(options, OPZOOptions) or options.freeze_feedback_after == 0:
            return 0
        return ceil(steps / 2) if options.feedback_update == "per_pair" else steps

    @property
    def uses_of_noise(self) -> int:
        """By one matrix."""
        return self.moves * (2 if getattr(self._options, "feedback_rule", "") == "delta" else 1)

    def send(self) -> None:
        """Count, of one step, what errors take before they move on from neurons."""
        path, samples, m = self._batch.phases["error path"], self._batch.samples, self._outputs
        path.add(LOSS, samples, multiplications=m)  # over the batch size, once more
        for name in self.all:
            if getattr(self._options, "bias_correction", False):
                path.add(name, samples, multiplications=m)
            if not self.is_plain(name):
                self.write_out(name)

    def write_out(self, name: str) -> None:
        """Count, of one step, ``M e`` as numbers."""
        products = self._batch.samples * self.size(name)
        self._batch.phases["error path"].add(
            name,
            macs=products,
            weight_reads=products,
            activation_reads=self._batch.samples * self._outputs,
            activation_writes=self._batch.samples * self._batch.neurons(name),
        )

    def update(self) -> None:
        """Count what a batch does to the matrices, those apart that only an optimiser moves."""
        if isinstance(self._options, DKPOptions):
            for name in self.all:
                self._correlate(name)
        elif self.moves:
            self._absorb_outputs()
            for name in self.all:
                self._absorb(name)

    @property
    def _tally(self) -> Tally:
        return self._batch.phases["feedback updates"]

    def _pooled(self, name: str) -> dict[str, float]:
        """Averages of a sample's numbers that share a row."""
        rows, neurons = self.rows(name), self._batch.neurons(name)
        if rows == neurons:
            return {}
        return {"additions": neurons - rows, "multiplications": rows}

    def _correlate(self, name: str) -> None:
        """DKP: ``dL/dB = mean_b a e^T``."""
        tally, batch, steps = self._tally, self._batch.samples, self._batch.timesteps
        neurons, m, matrix = self._batch.neurons(name), self._outputs, self.size(name)
        if self._options.centre_activity:
            tally.add(name, steps * neurons, additions=2 * batch, multiplications=1)
        tally.add(name, steps * batch, self._pooled(name))
        tally.add(
            name,
            steps,
            macs=batch * matrix,
            multiplications=batch * m,
            activation_reads=batch * (self.rows(name) + m),
            state_reads=matrix,
            state_writes=matrix,
        )
        if self._batch.network.neuron_nodes[name].scale != 1:
            tally.add(name, steps * matrix, multiplications=1, state_reads=1, state_writes=1)
        # an online update clears the gradient after each step
        added = 0 if self._batch.online else (steps - 1) * matrix
        tally.add(name, added, additions=1, state_reads=1, state_writes=1)

    def _absorb_outputs(self) -> None:
        """OPZO: what is done to outputs before they meet noise."""
        options, tally = self._options, self._tally
        batch, m, steps = self._batch.samples, self._outputs, self._batch.timesteps
        if options.centre_logits:
            tally.add(LOSS, steps, additions=2 * batch * m + m, multiplications=2 * m, decays=m)
            tally.add(LOSS, steps * m, state_reads=2, state_writes=1)
        if options.feedback_update == "per_pair":
            answers = 2 if self._below else 1
            kept = answers * (steps // 2) * batch * m
            tally.add(LOSS, kept, additions=1, multiplications=1, state_reads=1, state_writes=1)

    def _absorb(self, name: str) -> None:
        """OPZO: ``M <- lam M + (1 - lam) mean_b z_l o^T``, or the delta rule."""
        options, tally, moves = self._options, self._tally, self.moves
        batch, m, matrix = self._batch.samples, self._outputs, self.size(name)
        rows, plain = self.rows(name), self.is_plain(name)
        tally.add(name, self.uses_of_noise * batch, self._pooled(name))
        if options.noise == "sphere":  # the radius: of numbers that are held, or of outputs
            scaled = self._batch.neurons(name) if self._holds_noise or not plain else m
            tally.add(name, self.uses_of_noise * batch * scaled, multiplications=1)
        if options.feedback_rule == "delta":
            tally.add(
                name,
                moves * batch,
                macs=matrix,
                weight_reads=matrix,
                additions=m,
                multiplications=m if plain else 2 * m,
                activation_reads=rows,
            )
        else:
            tally.add(name, moves * matrix, decays=1)
        tally.add(
            name,
            moves,
            macs=batch * matrix,
            multiplications=matrix,
            activation_reads=batch * (rows + m),
            state_reads=matrix,
            state_writes=matrix,
        )
