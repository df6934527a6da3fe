"""What stands beside a classifier: fair networks without spikes, and what learning takes."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from neuro.config import TrainConfig
from neuro.energy.counting.network import count_network
from neuro.energy.counts import Counts, Ledger
from neuro.energy.pricing.account import account, joules
from neuro.energy.pricing.break_even import BreakEven, Price, break_even
from neuro.energy.pricing.prices import energy_profile
from neuro.energy.reporting.record import Baseline
from neuro.energy.signals import Signal
from neuro.energy.training.cost import TrainingCost, training_cost
from neuro.energy.training.optimiser import Optimiser
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile
from neuro.layers import Network
from neuro.layers.low_bits import Quantiser, Rectifier
from neuro.learning import RULES
from neuro.models.twin import BASELINES, baseline_bits, baseline_name, baseline_network
from neuro.reports.baselines import read_baselines, train_baselines
from neuro.reports.classifier import input_signal, sample_batches
from neuro.reports.opening import CountOptions
from neuro.reports.run import Counted

OF_PRECISION = "horowitz45-"
TRAINING_SAMPLES = 16
"""Of which the operations of learning are the mean."""


def fair_baselines(
    path: Path,
    counted: Counted,
    profiles: Sequence[HardwareProfile],
    options: CountOptions,
    *,
    train: bool,
    lr: float | Mapping[str, float] | None = None,
) -> list[Baseline]:
    """Return the networks without spikes that a spiking classifier is compared with.

    Operations follow from shapes: all of a network without spikes are made, whatever the sample.

    Args:
        path: of the run.
        counted: the run.
        profiles: that it is priced with; a baseline takes the one of its own precision.
        options: where the data are, to train.
        train: train those that are not there.
        lr: learning rate to train with, as for :func:`neuro.reports.baselines.train_baselines`.

    Raises:
        UsageError: baselines are to be trained of what is no spiking classifier.
        DataError: a baseline that is there is damaged.
    """
    session = counted.session
    if session is None or not counted.spiking:
        if train:
            raise UsageError(f"{path} is no run of a spiking classifier: it has no baselines.")
        return []
    timesteps = session.feeder.timesteps
    if train:
        there = train_baselines(
            path, lr=lr, data_dir=options.data_dir, download=options.download, note=_note
        )
    else:
        there = read_baselines(path)
    found = []
    for kind in BASELINES:
        name, bits = baseline_name(kind, timesteps), baseline_bits(kind, timesteps)
        trained = there.get(name)
        network = trained.network if trained else baseline_network(session.network, kind, timesteps)
        found.append(
            Baseline(
                name=name,
                ledger=count_twin(network),
                bits=bits.activations,
                accuracy=trained.accuracy if trained else None,
                budget=trained.budget if trained else None,
                profiles=_own_precision(profiles, bits.activations),
            )
        )
    return found


@torch.no_grad()
def count_twin(network: Network) -> Ledger:
    """Count a network without time; its sample says nothing, for no product is left out."""
    network.eval()
    device = next(network.parameters()).device
    sample = torch.zeros((1, *network.input_shape), device=device)
    return count_network(network, [sample], others=count_rounding)


def count_rounding(module: nn.Module, *inputs: Tensor, signals: Sequence[Signal]) -> Ledger:
    """Count what stands where neurons fired.

    A rectifier is a comparison a number; its gain, a constant, goes into weights. Rounding to few
    bits is two, for both ends, and a product, from the unit of sums to that of activations; to
    round is no arithmetic.

    Raises:
        UsageError: the module is neither.
    """
    if not isinstance(module, Rectifier | Quantiser):
        raise UsageError(f"nothing is known of the operations of a {type(module).__name__}.")
    rounds = isinstance(module, Quantiser) or module.quantiser is not None
    (x,) = inputs
    number = x.numel()
    counts = Counts(
        comparisons=number * (2 if rounds else 1),
        multiplications=number if rounds else 0,
        activation_reads=number,
        activation_writes=number,
    )
    return Ledger({type(module).__name__: counts}, samples=len(x))


def break_even_rates(
    counted: Counted, baselines: Sequence[Baseline], profiles: Sequence[HardwareProfile]
) -> dict[str, tuple[BreakEven, ...]]:
    """Return, by profile, the rates at which layers cost what those of the first baseline do.

    A profile that does not price the baseline has none, nor has one that is a model of whole
    networks: its layers have no price of their own.
    """
    if counted.session is None or not baselines:
        return {}
    first, found = baselines[0], {}
    for profile in profiles:
        own = first.profiles.get(profile.name, profile)
        if not (profile.method or own.method) and joules(first.ledger, own) > 0:
            found[profile.name] = break_even(
                counted.session.network,
                counted.subject.ledger,
                first.ledger,
                _price(profile),
                _price(own),
            )
    return found


def training_costs(counted: Counted) -> dict[str, TrainingCost | str]:
    """Return what each learning rule takes on this network, of its own shapes and spikes.

    The run's own rule has its options, others those they have by default; all have the run's
    optimiser and limit of the gradient. In place of a rule that cannot be counted stands why.
    """
    session = counted.session
    if session is None or not counted.spiking:
        return {}
    steps, _ = next(sample_batches(session, TRAINING_SAMPLES, at_once=TRAINING_SAMPLES))
    own, signal = session.config.rule, input_signal(session)
    optimiser = optimiser_of(session.config)
    found: dict[str, TrainingCost | str] = {}
    for name in RULES:
        rule = own if own.name == name else name
        try:
            found[name] = training_cost(
                session.network, steps, rule, signal=signal, optimiser=optimiser
            )
        except UsageError as error:
            found[name] = str(error)
    return found


def optimiser_of(config: TrainConfig) -> Optimiser:
    """Return what a run's settings say of its optimiser's steps."""
    chosen = config.optimizer
    return Optimiser(
        name=chosen.name,
        weight_decay=chosen.weight_decay,
        momentum=getattr(chosen, "momentum", 0.0),
        nesterov=getattr(chosen, "nesterov", False),
        gradient_clip=config.gradient_clip,
    )


def _price(profile: HardwareProfile) -> Price:
    def price(ledger: Ledger) -> Mapping[str, float]:
        return {name: each.value for name, each in account(ledger, profile, draws=1).layers.items()}

    return price


def _own_precision(
    profiles: Sequence[HardwareProfile], bits: int | None
) -> dict[str, HardwareProfile]:
    """Return, for profiles of one technology in several precisions, that of a baseline."""
    name = f"{OF_PRECISION}{'fp32' if bits is None else 'int8'}"
    return {
        profile.name: energy_profile(name)
        for profile in profiles
        if profile.name.startswith(OF_PRECISION)
    }


def _note(text: str) -> None:
    print(text, file=sys.stderr)
