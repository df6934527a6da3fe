"""What was counted in each module of a pass, collected into a ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.operators.operator_call import Columns, Counted

ATTENTION = "attention"
"""The part of a module in which activations meet activations."""

_KINDS = (
    "recurrent",
    "convolution",
    "linear",
    "embedding",
    "messages",
    "attention",
    "normalisation",
    "pooling",
    "neurons",
    "softmax",
    "activation",
    "interpolation",
    "noise",
    "reduction",
    "elementwise",
    "unused",
)
"""Kinds of layers; one in which several things happen is named for the first of them."""
_EVENTS = ("spikes", "spikes_in", "neuron_updates", "active_updates")
_MOVED = ("weight_reads", "state_reads", "state_writes", "activation_reads", "activation_writes")


@dataclass
class Row:
    """What one module does by itself, its submodules apart.

    Attributes:
        columns: sums so far.
        kinds: of what happened.
        told: facts that operators told.
        dense: total of the operators' dense counts.
        parameters: names of those it used.
        weights: numbers that are not 0 in each weight it used.
        inputs: numbers that came in, over all calls of the module.
        outputs: numbers that went out.
        driven: whether all of it so far went with spikes.
        folded: whether its arithmetic is in the weights of another one.
        state: numbers it keeps for each sample.
        neurons: numbers declared to be events that went out, over all calls.
    """

    columns: Columns = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)
    told: dict[str, Any] = field(default_factory=dict)
    dense: float = 0
    parameters: set[str] = field(default_factory=set)
    weights: dict[Any, int] = field(default_factory=dict)
    inputs: int = 0
    outputs: int = 0
    driven: bool = True
    folded: bool = False
    state: int = 0
    neurons: int = 0

    def add(self, kind: str, counted: Counted) -> None:
        """Add what an operator did, by its kind."""
        self.kinds.add(kind)
        for name, number in counted.columns.items():
            self.columns[name] = self.columns.get(name, 0) + number
            beside = name in _EVENTS or name in _MOVED
            self.driven = self.driven and (counted.driven or beside or not number)
        for name, value in counted.facts.items():
            if name == "dense":
                self.dense += value
            elif name == "bias":
                self.told["bias"] = self.told.get("bias", False) or value
            elif name not in ("kind", "weight"):
                self.told.setdefault(name, value)

    @property
    def arithmetic(self) -> bool:
        """Whether anything was counted that is not movement."""
        return any(number for name, number in self.columns.items() if name not in _MOVED)

    def facts(self, parameters: int, runs: int) -> Facts:
        """Return what the layer is.

        Args:
            parameters: numbers it owns.
            runs: samples times time steps.
        """
        kind = next((each for each in _KINDS if each in self.kinds), "shape")
        return Facts(
            kind=kind,
            parameters=parameters,
            weights=sum(self.weights.values()),
            state=self.state,
            neurons=round(self.neurons / runs) if kind == "neurons" else 0,
            inputs=round(self.inputs / runs),
            outputs=round(self.outputs / runs),
            dense=round(self.dense / runs),
            folded=self.folded,
            **self.told,
        )


class Rows:
    """Rows by module path and part."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._found: dict[tuple[str, str], Row] = {}

    def row(self, path: str, part: str = "") -> Row:
        """Return a row, a new one if it is not there yet."""
        return self._found.setdefault((path, part), Row())

    def has(self, path: str, part: str) -> bool:
        """Tell whether a part of a module has counted anything."""
        return (path, part) in self._found

    def ledger(self, samples: int, timesteps: int, states: Mapping[str, int]) -> Ledger:
        """Return the ledger.

        Parameters that nothing read stand in the row of their module.

        Args:
            samples: over which were counted.
            timesteps: of each sample.
            states: numbers that a module keeps, by path.
        """
        self._keep_states(states)
        held = self._parameters()
        shown = {
            place: row
            for place, row in self._found.items()
            if any(row.columns.values()) or row.folded or held[place] or row.state
        }
        layers, facts, driven = {}, {}, set()
        for (path, part), row in shown.items():
            name = path or type(self._module).__name__
            if part and (path, "") in shown:
                name = f"{name}, {part}"
            layers[name] = Counts(**{each: count for each, count in row.columns.items() if count})
            facts[name] = row.facts(held[path, part], samples * timesteps)
            if row.driven and row.arithmetic:
                driven.add(name)
        return Ledger(layers, frozenset(driven), facts, samples, timesteps)

    def _keep_states(self, states: Mapping[str, int]) -> None:
        for path, size in states.items():
            self.row(path).state = size

    def _parameters(self) -> dict[tuple[str, str], int]:
        """Return how many parameters each row has: those it read first, and its module's unread."""
        left = {name: each.numel() for name, each in self._module.named_parameters()}
        held = {}
        for place, row in self._found.items():
            own = row.parameters & left.keys()
            held[place] = sum(left.pop(name) for name in own)
        for name, size in left.items():
            place = (name.rpartition(".")[0], "")
            self.row(*place).kinds.add("unused")
            held[place] = held.get(place, 0) + size
        return held
