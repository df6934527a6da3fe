"""Online pseudo-zeroth-order training: one noisy forward, momentum feedback matrices."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.layers import Network
from neuro.learning.credit import Credit, add_credit
from neuro.learning.direct import DirectOptions, DirectRule, LateErrors, blocks_of
from neuro.learning.feedback import MomentumFeedback
from neuro.learning.local import LocalReadout
from neuro.learning.online import Moment
from neuro.learning.pass_through import Perturbation
from neuro.learning.rule import RuleOptions
from neuro.learning.zeroth_order import NoiseSource, PerturbedOptions


@dataclass(frozen=True, kw_only=True)
class OPZOOptions(PerturbedOptions, DirectOptions):
    """Options of ``opzo``.

    Attributes:
        feedback_momentum: lam of the feedback matrices; 0.999 for dense nets, 0.9999 or more for
            deep convolutional nets or small batches.
        feedback_ramp: k0; the k-th update uses min(lam, k / (k + k0)). 0 for none.
        inverse_alpha: "drop" the factor 1/alpha of the estimate, as in the paper's practice, or
            "keep" it. With SGD, keep it and correct the bias; Adam does not see the difference.
        bias_correction: use M / (1 - lam^k), since M starts at zero.
        feedback_rule: "average" is the paper's momentum update, z o^T. "delta" replaces o by what
            the matrices of all layers do not explain of it, o - alpha sum_k z_k^T J_k^T with J_k^T
            from M_k: the same expectation, less variance (see :class:`OPZO`).
        feedback_update: update M at every time step ("per_step") or once per antithetic pair
            ("per_pair") with z (o[t] - o[t+1]) / 2; a step left over updates alone.
        feedback_order: read M "before" or "after" this step's update.
        freeze_feedback_after: number of batches after which M stays as it is; None for never.
        centre_logits: subtract a running mean of the logits from o before it enters M.
        intermediate_learning: give the middle layer a classifier whose error, through feedback
            matrices of its own, adds to the credit of the layers below it.
    """

    name: Literal["opzo"] = "opzo"
    feedback_momentum: float = 0.999
    feedback_ramp: int = 0
    inverse_alpha: Literal["drop", "keep"] = "drop"
    bias_correction: bool = False
    feedback_rule: Literal["average", "delta"] = "average"
    feedback_update: Literal["per_step", "per_pair"] = "per_step"
    feedback_order: Literal["before", "after"] = "before"
    freeze_feedback_after: int | None = None
    centre_logits: bool = False
    intermediate_learning: bool = False


CENTRE_MOMENTUM = 0.99


class OPZO(DirectRule):
    """Credit through feedback matrices estimated from the noise of the one forward pass::

        h_l = scale * (s_l + alpha * z_l)                      noise on spikes (or on u: "pre")
        M_l <- lam * M_l + (1 - lam) * mean_b z_l o^T          (times 1/alpha when kept)
        g_l = M_l e,   delta_l = g_l * psi(u_l - threshold),   dL/dW_l = sum_t delta_l a_{l-1}^T

    The noise of all layers meets in ``o``, so each M is estimated against the noise of the others,
    and the last layers, whose neurons weigh most, drown the first. The delta rule takes out what is
    known already, a least-mean-squares step on the regression of o on all noise::

        M_l <- M_l + (1 - lam) * mean_b z_l (o - sum_k z_k^T M_k)^T

    with ``E[z z^T] = I`` its expectation is that of the average. The step is at most
    ``B / (B + rows of all M)``, where the regression is stable. It is ours, not the paper's.

    ``e`` is the first-order error of the loss at the output, so only the network is treated as a
    black box, not the loss. The read-out uses ``e`` directly. Noise is off in evaluation.

    Source: Xiao, Meng, Zhang, He, Lin, "Online pseudo-zeroth-order training of neuromorphic spiking
    neural networks", arXiv 2407.12516. alpha, lam and the zero start of M are our choices: the
    values used there are not public.
    """

    Options: ClassVar[type[RuleOptions]] = OPZOOptions
    summary: ClassVar[str] = "online pseudo-zeroth-order: momentum feedback from forward noise"

    def __init__(
        self, network: Network, options: OPZOOptions, *, generator: torch.Generator
    ) -> None:
        super().__init__(network, options, generator=generator)
        if not 0 <= options.feedback_momentum < 1:
            raise UsageError(
                f"rule.feedback_momentum must lie in [0, 1), got {options.feedback_momentum:g}."
            )
        if options.feedback_ramp < 0:
            raise UsageError(f"rule.feedback_ramp must be >= 0, got {options.feedback_ramp}.")
        freeze = options.freeze_feedback_after
        if freeze is not None and freeze < 0:
            raise UsageError(f"rule.freeze_feedback_after must be >= 0, got {freeze}.")
        if options.feedback_update == "per_pair" and not options.antithetic:
            raise UsageError('rule.feedback_update="per_pair" needs rule.antithetic=true.')
        self._source = NoiseSource(network, options)
        self._gain = 1 / options.alpha if options.inverse_alpha == "keep" else 1.0
        self._blocks = blocks_of(network, options)
        layers = list(network.neuron_nodes)
        self.feedback = self._matrices(layers, network.classes)
        self.batches: Tensor
        self.logit_mean: Tensor
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("logit_mean", torch.zeros(network.classes))
        self.intermediate: Intermediate | None = None
        if options.intermediate_learning:
            if len(layers) < 2:
                raise UsageError(
                    "rule.intermediate_learning needs at least two spiking layers, "
                    f"this network has {len(layers)}."
                )
            middle = layers[len(layers) // 2]
            readout = LocalReadout(
                network.shapes[middle],
                network.classes,
                network.neuron_nodes[middle].scale,
                generator,
            )
            below = self._matrices(layers[: len(layers) // 2], network.classes)
            self.intermediate = Intermediate(middle, readout, below, options.feedback_delay)
        self._first_of_pair: dict[str, Tensor] = {}

    def begin(self, batch_like: Tensor, timesteps: int, generator: torch.Generator) -> None:
        super().begin(batch_like, timesteps, generator)
        self._source.begin(batch_like, generator)
        self._first_of_pair = {}
        self.batches += 1
        if self.intermediate is not None:
            self.intermediate.errors.clear()

    def perturbation(self, index: int) -> Perturbation:
        return self._source.step(index)

    def feedback_of(self, name: str) -> MomentumFeedback:
        return _momentum(self.feedback, name)

    def credit(self, moment: Moment) -> dict[str, Credit]:
        if self.options.feedback_order == "after":
            self._absorb(moment)
        credit = super().credit(moment)
        if self.intermediate is not None:
            for name, part in self.intermediate.credit(moment).items():
                credit[name] = add_credit(credit.get(name), part)
        return credit

    def conclude(self, moment: Moment) -> None:
        if self.options.feedback_order == "before":
            self._absorb(moment)

    def _absorb(self, moment: Moment) -> None:
        limit = self.options.freeze_feedback_after
        if limit is not None and int(self.batches) > limit:
            return
        logits = self._centred(moment.record.logits)
        self._update(self.feedback, self._pair(moment, "output", logits))
        if self.intermediate is not None:
            estimate = self._pair(moment, "middle", self.intermediate.logits(moment))
            self._update(self.intermediate.feedback, estimate)

    def _update(self, matrices: nn.ModuleDict, outputs: Tensor | None) -> None:
        """Let every matrix take in the outputs ``(B, m)`` that this step's noise helped to make."""
        if outputs is None:
            return
        noise, sign = self._source.noise, self._source.sign
        layers = {name: _momentum(matrices, name) for name in matrices}
        if self.options.feedback_rule == "average":
            for name, layer in layers.items():
                layer.absorb(noise[name], outputs, self._gain * sign)
            return
        # M stands for gain * alpha * J^T, so that alpha z^T J^T = z^T M / gain.
        surprise = outputs
        for name, layer in layers.items():
            surprise = surprise - layer.predict(noise[name]) * (sign / self._gain)
        rows = sum(layer.projection.shape[1] for layer in layers.values())
        largest_step = len(outputs) / (len(outputs) + rows)
        for name, layer in layers.items():
            layer.correct(noise[name], surprise, self._gain * sign, largest_step)

    def _pair(self, moment: Moment, key: str, logits: Tensor) -> Tensor | None:
        """Return the outputs to correlate with this step's noise, or None to wait for the pair."""
        if self.options.feedback_update == "per_step":
            return logits
        if moment.index % 2 == 1:
            # This step's noise is -z: z (o[t-1] - o[t]) / 2 = (-z) (o[t] - o[t-1]) / 2.
            return (logits - self._first_of_pair.pop(key)) / 2
        if moment.index == moment.timesteps - 1:
            return logits
        self._first_of_pair[key] = logits
        return None

    def _centred(self, logits: Tensor) -> Tensor:
        if not self.options.centre_logits:
            return logits
        centred = logits - self.logit_mean
        self.logit_mean.mul_(CENTRE_MOMENTUM).add_(logits.mean(0), alpha=1 - CENTRE_MOMENTUM)
        return centred

    def _matrices(self, layers: list[str], outputs: int) -> nn.ModuleDict:
        options = self.options
        return nn.ModuleDict(
            {
                name: MomentumFeedback(
                    self.network.shapes[name],
                    outputs,
                    self._blocks[name],
                    momentum=options.feedback_momentum,
                    ramp=options.feedback_ramp,
                    bias_correction=options.bias_correction,
                )
                for name in layers
            }
        )


class Intermediate(nn.Module):
    """A classifier at the middle layer with feedback matrices to the layers below.

    Its logits come from the noisy signal that layer emits, so the same noise of the lower layers
    estimates their Jacobian to it; the middle layer itself gets the classifier's transpose.
    """

    def __init__(
        self, middle: str, readout: LocalReadout, feedback: nn.ModuleDict, delay: int
    ) -> None:
        super().__init__()
        self.errors = LateErrors(delay)
        self.middle = middle
        self.readout = readout
        self.feedback = feedback

    def logits(self, moment: Moment) -> Tensor:
        """Return the classifier's logits ``(B, m)`` on what the middle layer emits."""
        return self.readout.logits(self.readout.features(moment.record.values[self.middle]))

    def credit(self, moment: Moment) -> dict[str, Credit]:
        """Train the classifier on this step; return the credit of the middle layer and below."""
        error = moment.objective.errors(self.logits(moment), moment.targets) / moment.batch
        self.readout.learn(error, moment.record.traces[self.middle])
        shape = moment.record.factors[self.middle].shape
        credit: dict[str, Credit] = {self.middle: self.readout.credit(error, shape)}
        late = self.errors.deliver(error)
        if late is not None:
            for name in self.feedback:
                credit[name] = _momentum(self.feedback, name).send(late)
        return credit


def _momentum(matrices: nn.ModuleDict, name: str) -> MomentumFeedback:
    feedback = matrices[name]
    assert isinstance(feedback, MomentumFeedback)
    return feedback
