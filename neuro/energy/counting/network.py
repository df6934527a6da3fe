"""Operations of a network on real inputs, counted while it runs.

Nothing is computed twice: the network takes its steps, and of what each node sends on only the
numbers that are not 0 are counted, by position where a fan-out depends on it. See
:mod:`neuro.energy.counting.streams` for what is declared to be spikes,
:mod:`neuro.energy.counting.fan_out` for what they cost, and
:mod:`neuro.energy.counting.neuron_counts` for neurons.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.energy.counting.node_counts import CountModule, NodeCounter, counter_of
from neuro.energy.counting.sent import Sent, Tally
from neuro.energy.counting.streams import KNOWN, Surroundings, without_arithmetic
from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.signals import Signal, contradictions, known_signal, refuse
from neuro.errors import UsageError
from neuro.layers import INPUT, Network


class CountedReadout(NamedTuple):
    """What a network did and said.

    ``logits``: ``(B, m)``, mean over time steps, as of :meth:`neuro.layers.Network.run`.
    """

    ledger: Ledger
    logits: Tensor


class NetworkCounter:
    """Counts a network over batches; what does not depend on them is found once.

    - Spikes through a synapse are additions (AC), one for each target they reach; real inputs are
      multiply-accumulates (MAC), also where they happen to be 0; of graded events each is a MAC for
      each target.
    - An input that is the same tensor at every step makes one current, as direct encoding has it:
      what depends on it alone is counted at the first step, and its facts say ``constant``.
    - Weights are those that act: standardisation, gains, pools and scales that an export folds into
      them count nothing, and the facts of such nodes say ``folded``.
    - Biases are counted apart, one addition an output and step.

    Args:
        network: in evaluation mode; its weights stay as they are while it is counted.
        signal: what the input is declared to be; values are checked against it.
        others: counts modules that are no part of this package; without, they are refused.

    Raises:
        UsageError: a module or a neuron whose operations are not known.
    """

    @torch.no_grad()
    def __init__(
        self, network: Network, *, signal: Signal = "real", others: CountModule | None = None
    ) -> None:
        self.network = network
        self._signal = known_signal(signal, "the network's input")
        self._weights = network.effective_weights()
        _check_known(network, others)
        self._plans: dict[bool, _Plan] = {}
        self._others = others
        self._plan(constant=False)

    @torch.no_grad()
    def count(self, steps: Sequence[Tensor], *, per_step: bool = False) -> CountedReadout:
        """Run a batch over T steps; count what every node does.

        Args:
            steps: T inputs ``(B, *input_shape)``.
            per_step: also keep a ledger of each step.

        Returns:
            Counts summed over samples and steps, by node, and what the network says.

        Raises:
            UsageError: no steps, or values that contradict what they are declared to be.
        """
        if not steps:
            raise UsageError("a network is counted over at least one time step, got none.")
        constant = len(steps) > 1 and all(x is steps[0] for x in steps)
        around, counters, facts, driven = self._plan(constant=constant)
        changing = {name: each for name, each in counters.items() if not facts[name].constant}
        doubts: dict[str, Tensor] = {}
        tallies = [Tally() for _ in range(len(steps) if per_step else 1)]
        state = self.network.initial_state(len(steps[0]), steps[0].device)
        total: Tensor | None = None
        for number, x in enumerate(steps):
            values, state = self.network.advance(x, state, self._weights)
            logits = values[self.network.output]
            total = logits if total is None else total + logits
            sent = Sent(values, around.streams)
            if number == 0 or not constant:
                sent.examine(INPUT)
            for name, counter in (changing if number else counters).items():
                tallies[number if per_step else 0].add(name, counter.count(sent))
            for origin, doubt in sent.doubts.items():
                doubts[origin] = doubts[origin] + doubt if origin in doubts else doubt
        assert total is not None
        if any(float(doubt) != 0 for doubt in doubts.values()):
            self._refuse(around, steps, doubts)
        ledger = _ledger(tallies, facts, driven, len(steps[0]), len(steps), per_step)
        return CountedReadout(ledger, total / len(steps))

    def _plan(self, *, constant: bool) -> "_Plan":
        """Return what counts each node."""
        if constant not in self._plans:
            around = Surroundings.of(self.network, self._signal, constant)
            counters = {
                name: counter_of(around, name, self._weights.get(name), self._others)
                for name in self.network.nodes
            }
            self._plans[constant] = _Plan(
                around,
                counters,
                {name: counter.facts() for name, counter in counters.items()},
                frozenset(name for name, counter in counters.items() if counter.driven),
            )
        return self._plans[constant]

    def _refuse(
        self, around: Surroundings, steps: Sequence[Tensor], doubts: Mapping[str, Tensor]
    ) -> None:
        """Run again, and say how many values contradict what they are declared to be."""
        state = self.network.initial_state(len(steps[0]), steps[0].device)
        wrong = dict.fromkeys(doubts, 0)
        for x in steps:
            values, state = self.network.advance(x, state, self._weights)
            for origin in doubts:
                stream = around.streams[origin]
                wrong[origin] += int(contradictions(values[origin], stream.signal, stream.unit))
        for origin, number in wrong.items():
            stream = around.streams[origin]
            where = "the network's input" if origin == INPUT else origin
            refuse(number, stream.signal, where, stream.unit)


class _Plan(NamedTuple):
    around: Surroundings
    counters: Mapping[str, NodeCounter]
    facts: Mapping[str, Facts]
    driven: frozenset[str]


def count_network(
    network: Network,
    steps: Sequence[Tensor],
    *,
    signal: Signal = "real",
    per_step: bool = False,
    others: CountModule | None = None,
) -> Ledger:
    """Run a network over T steps of one batch, and count; see :class:`NetworkCounter`.

    Args:
        network: in evaluation mode.
        steps: T inputs ``(B, *input_shape)``.
        signal: of the input.
        per_step: also keep a ledger of each step.
        others: counts modules that are no part of this package.

    Raises:
        UsageError: as the counter does.
    """
    counter = NetworkCounter(network, signal=signal, others=others)
    return counter.count(steps, per_step=per_step).ledger


def _ledger(
    tallies: Sequence[Tally],
    facts: Mapping[str, Facts],
    driven: frozenset[str],
    samples: int,
    timesteps: int,
    per_step: bool,
) -> Ledger:
    """Return the sums as a ledger, with one of each step if tallies are of steps."""
    by_step = [_counted(tally, facts) for tally in tallies]
    if not per_step:
        return Ledger(by_step[0], driven, facts, samples, timesteps)
    layers = {name: sum((step[name] for step in by_step), Counts()) for name in facts}
    steps = tuple(Ledger(step, driven, facts, samples) for step in by_step)
    return Ledger(layers, driven, facts, samples, timesteps, steps)


def _check_known(network: Network, others: CountModule | None) -> None:
    """Raise if nothing counts a module; the message lists all of them."""
    unknown = [
        f"{name} ({type(module).__name__})"
        for name, module in network.nodes.items()
        if not (isinstance(module, KNOWN) or without_arithmetic(name, module))
    ]
    if unknown and others is None:
        raise UsageError(
            f"nothing is known of the operations of {', '.join(unknown)}. Use layers of "
            "neuro.layers, or give a function that counts such modules."
        )


def _counted(tally: Tally, facts: Mapping[str, Facts]) -> dict[str, Counts]:
    """Return the counts of every node, in the order of the network."""
    numbers = tally.numbers()
    return {name: Counts(**numbers.get(name, {})) for name in facts}
