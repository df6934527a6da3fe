"""Single-point zeroth-order training by node perturbation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import Network
from neuro.learning.noise import LayerNoise, NoiseKind, draw_seed, layer_noise
from neuro.learning.online import Moment, OnlineOptions, OnlineRule
from neuro.learning.pass_through import NoiseSite, Perturbation
from neuro.learning.rule import RuleOptions


@dataclass(frozen=True, kw_only=True)
class PerturbedOptions(OnlineOptions):
    """Options of rules that perturb neurons.

    Attributes:
        noise: distribution of the perturbation.
        noise_at: "post" adds it to the spikes that go on, "pre" to the membrane potential.
        alpha: strength, the standard deviation of what is added.
        antithetic: use z and -z in every two time steps.
    """

    noise: NoiseKind = "gaussian"
    noise_at: NoiseSite = "post"
    alpha: float = 0.2
    antithetic: bool = True


class NoiseSource:
    """Names each layer's perturbation, step by step.

    ``noise`` names z, ``sign`` is -1 in the second half of an antithetic pair, which uses the same
    z. A CPU keeps the z of the step: four uses of a pair read it in less time than they draw it.
    """

    def __init__(self, network: Network, options: PerturbedOptions) -> None:
        if not options.alpha > 0:
            raise UsageError(f"rule.alpha must be > 0, got {options.alpha:g}.")
        self._network = network
        self._options = options
        self._like: Tensor | None = None
        self._seed = 0
        self.noise: dict[str, LayerNoise] = {}
        self.sign = 1.0

    def begin(self, batch_like: Tensor, generator: torch.Generator) -> None:
        """Start a batch."""
        self._like, self._seed = batch_like, draw_seed(generator)
        self.noise = {}

    def step(self, index: int) -> Perturbation:
        """Return the perturbation of time step ``index``; odd steps use -z of the one before."""
        options, like = self._options, self._like
        assert like is not None
        if options.antithetic and index % 2 == 1:
            self.sign = -1.0
        else:
            self.sign = 1.0
            self.noise = {
                name: layer_noise(
                    options.noise,
                    self._seed,
                    layer,
                    index,
                    like,
                    self._network.shapes[name],
                    hold=like.device.type == "cpu",
                )
                for layer, name in enumerate(self._network.neuron_nodes)
            }
        return Perturbation(self.noise, self.sign * options.alpha, options.noise_at)


@dataclass(frozen=True, kw_only=True)
class ZeroOrderOptions(PerturbedOptions):
    """Options of ``zo``."""

    name: Literal["zo"] = "zo"


class ZeroOrder(OnlineRule):
    """Credit from the scalar loss alone, ``g_l[t] = L[t] z_l[t] / alpha`` per sample.

    Unbiased for the gradient of the smoothed loss, with a variance that grows with the number of
    neurons. The read-out learns from its first-order error, as in OPZO.
    """

    Options: ClassVar[type[RuleOptions]] = ZeroOrderOptions
    summary: ClassVar[str] = "single-point zeroth order: noise times the scalar loss"

    def __init__(
        self, network: Network, options: ZeroOrderOptions, *, generator: torch.Generator
    ) -> None:
        super().__init__(network, options, generator=generator)
        self._source = NoiseSource(network, options)

    def begin(self, batch_like: Tensor, timesteps: int, generator: torch.Generator) -> None:
        self._source.begin(batch_like, generator)

    def perturbation(self, index: int) -> Perturbation:
        return self._source.step(index)

    def credit(self, moment: Moment) -> dict[str, Tensor]:
        losses = moment.objective.losses(moment.record.logits, moment.targets)
        factor = losses * (self._source.sign / (self.options.alpha * moment.batch))
        return {
            name: noise.values(factor) * factor.view(-1, *(1,) * len(noise.layer_shape))
            for name, noise in self._source.noise.items()
        }
