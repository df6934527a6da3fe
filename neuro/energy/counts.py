"""Operations by kind, and a ledger of them by layer.

What is an operation is decided by what a signal is declared to be, never by the values it happens
to have: a spike times a weight is an addition, a real or a whole number times a weight is not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import add
from types import MappingProxyType

from neuro.energy.signals import Signal


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often each kind of operation happened; means are allowed, negatives are not.

    A sum of n products is n multiply-accumulates, and a sum over n spikes n additions, wherever the
    accumulator begins. Columns are disjoint: no operation stands in two of them. Spikes, updates
    and movement are events beside the arithmetic, which has its own columns.

    Attributes:
        spikes: neurons that fired.
        spikes_in: numbers other than 0 that came over a connection declared to carry spikes.
        synaptic_additions: additions that a spike causes, of one number to one accumulator (AC).
        additions: other additions and subtractions.
        bias_additions: of a bias to a sum, where the sum does not begin with it.
        multiplications: products that are not accumulated, other than decays.
        decays: products of a state and a constant.
        resets: additions to (or selections of) a state because its neuron fired.
        macs: products of real or whole numbers that are accumulated (MAC).
        comparisons: of two numbers: thresholds, maxima, rectifiers.
        functions: roots, reciprocals and exponentials.
        neuron_updates: steps of neurons; their arithmetic stands in the other columns.
        active_updates: those of them in which current came or a spike left.
        delay_pushes: spikes, or numbers, that entered a line of delay.
        weight_reads: numbers read from weights and biases, one for each time one is used.
        state_reads: numbers read from states and from accumulators that spikes add to.
        state_writes: numbers written there.
        activation_reads: numbers, or spikes, that a layer reads of what others sent.
        activation_writes: numbers, or spikes, that it sends.
    """

    spikes: float = 0
    spikes_in: float = 0
    synaptic_additions: float = 0
    additions: float = 0
    bias_additions: float = 0
    multiplications: float = 0
    decays: float = 0
    resets: float = 0
    macs: float = 0
    comparisons: float = 0
    functions: float = 0
    neuron_updates: float = 0
    active_updates: float = 0
    delay_pushes: float = 0
    weight_reads: float = 0
    state_reads: float = 0
    state_writes: float = 0
    activation_reads: float = 0
    activation_writes: float = 0

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            if not number >= 0:
                raise ValueError(f"Counts: {name} must be at least 0, got {number}")
        if self.active_updates > self.neuron_updates * (1 + 1e-12):
            raise ValueError(
                f"Counts: active_updates {self.active_updates} of {self.neuron_updates} "
                "neuron_updates"
            )

    @property
    def all_additions(self) -> float:
        """Whatever costs an addition: those of every column, and one for each MAC."""
        return (
            self.synaptic_additions + self.additions + self.bias_additions + self.resets + self.macs
        )

    @property
    def all_multiplications(self) -> float:
        """Whatever costs a multiplication: products, decays, and one for each MAC."""
        return self.multiplications + self.decays + self.macs

    def __add__(self, other: "Counts") -> "Counts":
        """Return what happened in both."""
        return Counts(**{name: count + getattr(other, name) for name, count in vars(self).items()})

    def over(self, number: float) -> "Counts":
        """Return the mean over ``number`` queries or samples."""
        return Counts(**{name: count / number for name, count in vars(self).items()})

    def to_json(self) -> dict[str, float]:
        """Return the counts that are not zero."""
        return {name: count for name, count in vars(self).items() if count}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a layer is, whatever happens in it.

    Attributes:
        kind: "linear", "convolution", "neurons", "pooling", "delay", "scale", "normalisation",
            "attention" or another word for what it does.
        signal: what comes in, as declared.
        parameters: numbers that training found, or could have.
        weights: of the linear map that are not 0, biases apart; a kernel counts once.
        state: numbers kept from one step to the next, for each sample.
        inputs: numbers that come in at a step, for each sample.
        outputs: numbers that go out at a step, for each sample.
        neurons: of each sample.
        kernel: sizes of a convolution's or a pool's window.
        stride: of the window.
        groups: of a convolution.
        channels: that go out of a convolution; of a linear layer its outputs.
        bias: whether there is one.
        dense: synaptic operations at a step, for each sample, were every input active.
        unit: what a spike arrives as; the gain is constant, so it belongs to the weights.
        folded: it is constant and linear, and acts within the weights or thresholds of its
            neighbours: nothing is computed here.
        constant: what comes in does not change over time: computed, and counted, at one step.
        weight_bits: of a weight.
        activation_bits: of a number that goes out.
    """

    kind: str
    signal: Signal = "real"
    parameters: int = 0
    weights: int = 0
    state: int = 0
    inputs: int = 0
    outputs: int = 0
    neurons: int = 0
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1
    channels: int = 0
    bias: bool = False
    dense: int = 0
    unit: float = 1.0
    folded: bool = False
    constant: bool = False
    weight_bits: int = 32
    activation_bits: int = 32

    def to_json(self) -> dict[str, object]:
        """Return everything, tuples as lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Ledger:
    """Counts of layers by name, summed over samples and time steps.

    A ledger without layers counted nothing: added to another one it changes nothing.

    Attributes:
        layers: in the order of the network.
        driven: layers in which everything happens because a spike came. With twice the spikes
            they count twice as much; the others count the same.
        facts: what layers are, by name, where that is known.
        samples: over which the counts are sums.
        timesteps: of each sample.
        steps: the same by time step, if that was asked for.
    """

    layers: Mapping[str, Counts]
    driven: frozenset[str] = field(default=frozenset())
    facts: Mapping[str, Facts] = field(default_factory=dict)
    samples: int = 1
    timesteps: int = 1
    steps: tuple["Ledger", ...] = ()

    def __post_init__(self) -> None:
        for what, names in (("driven", self.driven), ("facts", self.facts.keys())):
            unknown = names - self.layers.keys()
            if unknown:
                raise ValueError(f"Ledger: {what} names {sorted(unknown)}, which are no layers")
        for what in ("samples", "timesteps"):
            if getattr(self, what) < 1:
                raise ValueError(f"Ledger: {what} must be at least 1, got {getattr(self, what)}")
        if self.steps and len(self.steps) != self.timesteps:
            raise ValueError(f"Ledger: {len(self.steps)} steps for {self.timesteps} timesteps")
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))

    def __add__(self, other: "Ledger") -> "Ledger":
        """Return the counts of both, layer by layer: of the samples of both.

        Raises:
            ValueError: the two are not of one network over as many time steps.
        """
        if not (self.layers and other.layers):
            return self if self.layers else other
        if self.timesteps != other.timesteps:
            raise ValueError(
                f"Ledger: {self.timesteps} time steps cannot be added to {other.timesteps}"
            )
        for name in self.facts.keys() & other.facts.keys():
            if self.facts[name] != other.facts[name]:
                raise ValueError(f"Ledger: two layers are called {name!r}")
        none = Counts()
        names = dict.fromkeys([*self.layers, *other.layers])
        both = bool(self.steps and other.steps)
        return Ledger(
            {name: self.layers.get(name, none) + other.layers.get(name, none) for name in names},
            self.driven | other.driven,
            {**self.facts, **other.facts},
            self.samples + other.samples,
            self.timesteps,
            tuple(map(add, self.steps, other.steps)) if both else (),
        )

    def over(self, number: int) -> "Ledger":
        """Return the mean over ``number`` queries or samples, as the ledger of one."""
        return Ledger(
            {name: counts.over(number) for name, counts in self.layers.items()},
            self.driven,
            self.facts,
            1,
            self.timesteps,
            tuple(step.over(number) for step in self.steps),
        )

    @property
    def per_sample(self) -> "Ledger":
        """The mean over the samples that were counted."""
        return self.over(self.samples)

    @property
    def total(self) -> Counts:
        """All layers together."""
        return reduce(add, self.layers.values(), Counts())

    @property
    def driven_total(self) -> Counts:
        """The layers that spikes drive, together."""
        chosen = [counts for name, counts in self.layers.items() if name in self.driven]
        return reduce(add, chosen, Counts())

    @property
    def parameters(self) -> int:
        """Parameters of all layers whose facts are known."""
        return sum(facts.parameters for facts in self.facts.values())

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return the counts that are not zero, by layer."""
        return {name: counts.to_json() for name, counts in self.layers.items()}


def linear(rows: int, inputs: int, outputs: int) -> Counts:
    """Return the counts of ``W x + b`` of real numbers for ``rows`` vectors."""
    return Counts(macs=rows * inputs * outputs)


def layer_norm(rows: int, features: int) -> Counts:
    """Return the counts of a layer norm over ``rows`` vectors.

    ::

        m = sum(x) / d,  c = x - m,  v = sum(c c) / d + epsilon,  y = (c / sqrt(v)) weight + bias
    """
    each = rows * features
    return Counts(
        additions=2 * each + rows,
        multiplications=each + 2 * rows,
        macs=2 * each,
        functions=rows,
    )
