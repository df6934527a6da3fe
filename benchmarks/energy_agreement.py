"""Operations as this package, NeuroBench and SpikingJelly count them, on the same networks.

Each network is drawn from a seed, with weights that are multiples of 1/64, so that every sum is
exact and spikes are the same in all three. What another tool counts by another definition is also
worked out here from that definition, product by product: a difference is explained when that gives
the tool's number exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.command import CheckFailedError, main, say
from benchmarks.records import RESULTS, origin, read_result, write_result
from neuro.energy import Ledger, Signal
from neuro.energy.counting.fan_out import synapse_fan_out
from neuro.energy.counting.network import count_network
from neuro.errors import NeuroError
from neuro.layers import AvgPool2d, Conv2d, Flatten, Linear, Network, Node, Spiking, Synapse
from neuro.neurons import LIF
from neuro.training.environment import package_version

KIND = "energy-agreement"
TOOLS = ("neurobench", "spikingjelly")
GRID = 64
BATCH, STEPS = 8, 5
NEURON = LIF(decay=0.5, reset_mode="hard", threshold=1 + 2**-20)
"""Its threshold is none of the values that a potential can take."""


class Case(NamedTuple):
    """A network and what it is given.

    ``title``: in words. ``signal``: of the input, as declared.
    """

    title: str
    network: Network
    steps: list[Tensor]
    signal: Signal


class Row(NamedTuple):
    """One definition on one network.

    Attributes:
        case: the network.
        tool: whose definition.
        quantity: as the tool calls it.
        ours: the figure that stands for it here, and which that is.
        theirs: the tool's figure.
        by_definition: theirs, worked out from its definition.
        reason: why the two differ, if they do.
    """

    case: str
    tool: str
    quantity: str
    ours: float
    column: str
    theirs: float
    by_definition: float
    reason: str


def energy_agreement(*, results: Path | None = None, check: bool = False) -> None:
    """Count the operations of six networks in three tools.

    Parameters
    ----------
    results
        Result file; default benchmarks/results/energy-agreement.json.
    check
        Run no other tool; fail unless what this package counts is what the file says, and every
        difference is explained.
    """
    file = results or RESULTS / f"{KIND}.json"
    if check:
        check_record(read_result(file, KIND))
        return
    from benchmarks.peers.operation_counters import neurobench_counts, spikingjelly_counts

    missing = [tool for tool in TOOLS if package_version(tool) is None]
    if missing:
        raise NeuroError(f"{' and '.join(missing)} missing; `make bench-peers` installs them.")
    rows: list[Row] = []
    for name, case in cases().items():
        rows += neurobench_rows(name, case, neurobench_counts(case.network, case.steps))
        rows += spikingjelly_rows(name, case, spikingjelly_counts(case.network, case.steps))
        say(f"{name}: {case.title}")
    record = {
        **origin(["python", "-m", "benchmarks.energy_agreement"]),
        "kind": KIND,
        "tools": {tool: package_version(tool) for tool in TOOLS},
        "batch": BATCH,
        "timesteps": STEPS,
        "cases": {name: case.title for name, case in cases().items()},
        "rows": [described(row) for row in rows],
    }
    write_result(file, record)
    check_record(record)


def described(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it."""
    return {**row._asdict(), "difference": row.theirs - row.ours}


def check_record(record: dict[str, Any]) -> None:
    """Print each row.

    Raises:
        CheckFailedError: a difference without a reason, or one that its definition does not
            explain; or this package counts otherwise than the file says.
    """
    counted = {(row.case, row.tool, row.quantity): row for row in own_rows()}
    failed = []
    for row in record["rows"]:
        key = (row["case"], row["tool"], row["quantity"])
        now = counted[key]
        agrees = row["difference"] == 0
        problems = [
            text
            for text, wrong in (
                ("counts otherwise now", now.ours != row["ours"]),
                ("its definition gives another number", now.by_definition != row["theirs"]),
                ("a difference without a reason", not agrees and not row["reason"]),
                ("a reason without a difference", agrees and bool(row["reason"])),
            )
            if wrong
        ]
        failed += [f"{' '.join(key)}: {problem}" for problem in problems]
        verdict = "agrees" if agrees else f"differs by {row['difference']:+g}: {row['reason']}"
        print(
            f"{row['case']:9} {row['tool']:12} {row['quantity']:18} {row['theirs']:>9g} {verdict}"
        )
    if failed:
        raise CheckFailedError("; ".join(failed))


def own_rows() -> list[Row]:
    """Return the rows with the other tools' figures worked out from their definitions."""
    rows: list[Row] = []
    for name, case in cases().items():
        rows += neurobench_rows(name, case, None)
        rows += spikingjelly_rows(name, case, None)
    return rows


def cases() -> dict[str, Case]:
    """Return the networks, each drawn anew from its own seed."""
    image = draw((2, 8, 8), seed=5)
    image = image * (image > 0)
    return {
        "linear": Case("20-30-10, spikes", dense(seed=0), spikes((20,), seed=1), "binary"),
        "conv": Case(
            "3x3 with padding, 3x3 with stride and groups, linear; spikes",
            convolutional(seed=2),
            spikes((2, 8, 8), seed=3),
            "binary",
        ),
        "pruned": Case(
            "the same, half the weights 0",
            convolutional(seed=2, kept=0.5),
            spikes((2, 8, 8), seed=3),
            "binary",
        ),
        "image": Case(
            "the same as conv; one image at every step, a half of it 0",
            convolutional(seed=2),
            [image] * STEPS,
            "real",
        ),
        "pooled": Case(
            "3x3, average pooling, 3x3; spikes",
            convolutional(seed=4, pooled=True),
            spikes((2, 8, 8), seed=3),
            "binary",
        ),
        "silent": Case(
            "20-30-10, real numbers that are all 0",
            dense(seed=0),
            [torch.zeros(BATCH, 20) for _ in range(STEPS)],
            "real",
        ),
    }


def draw(shape: Sequence[int], *, seed: int) -> Tensor:
    """Return multiples of 1/64 for a batch."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-GRID, GRID, (BATCH, *shape), generator=generator) / GRID


def spikes(shape: Sequence[int], *, seed: int) -> list[Tensor]:
    """Return T batches in which a quarter is 1."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randint(4, (BATCH, *shape), generator=generator) == 0).float() for _ in range(STEPS)
    ]


def dense(*, seed: int) -> Network:
    """Return 20-30-10."""
    nodes = [
        Node("linear1", Linear(20, 30)),
        Node("lif1", Spiking(NEURON)),
        Node("linear2", Linear(30, 10)),
    ]
    return _weighted(Network(nodes, (20,)), seed, 1.0)


def convolutional(*, seed: int, kept: float = 1.0, pooled: bool = False) -> Network:
    """Return two convolutions with neurons and a read-out, or with a pool between them."""
    second = Conv2d(4, 6, 3, padding=1) if pooled else Conv2d(4, 6, 3, 2, 1, groups=2)
    nodes = [
        Node("conv1", Conv2d(2, 4, 3, padding=1)),
        Node("lif1", Spiking(NEURON)),
        *([Node("pool", AvgPool2d(2))] if pooled else []),
        Node("conv2", second),
        Node("lif2", Spiking(NEURON)),
        Node("flatten", Flatten()),
        Node("linear", Linear(96, 10)),
    ]
    return _weighted(Network(nodes, (2, 8, 8)), seed, kept)


def _weighted(network: Network, seed: int, kept: float) -> Network:
    """Draw weights other than 0, then make some 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            drawn = torch.randint(1, GRID, parameter.shape, generator=generator)
            sign = torch.randint(2, parameter.shape, generator=generator).mul(2).sub(1)
            parameter.copy_(drawn * sign / GRID)
            if parameter.ndim > 1:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) < kept)
    return network.eval()


@dataclass(frozen=True)
class Heard:
    """What one synapse was given at one step, and its fan-outs.

    Attributes:
        x: ``(B, ...)``.
        fan_out: with weights that are 0 left out.
        full: with all of them.
        products: of the layer as a dense loop computes it, padding included.
    """

    x: Tensor
    fan_out: Tensor
    full: Tensor
    products: int

    @property
    def looks_binary(self) -> bool:
        """Whether all values happen to be 0 or 1."""
        return bool(((self.x == 0) | (self.x == 1)).all())

    @property
    def looks_ternary(self) -> bool:
        """Whether all values happen to be -1, 0 or 1."""
        return bool(((self.x == 0) | (self.x.abs() == 1)).all())

    def reached(self, fan_out: Tensor) -> int:
        """Sum the fan-outs of what is not 0."""
        return int(((self.x != 0).double() * fan_out).sum())


def hear(network: Network, steps: Sequence[Tensor]) -> list[Heard]:
    """Return what every synapse was given, step by step."""
    state = network.initial_state(len(steps[0]))
    weights = network.effective_weights()
    found = []
    for x in steps:
        values, state = network.advance(x, state, weights)
        for name, synapse in network.synapse_nodes.items():
            given, made = values[network.sources[name][0]], values[name]
            found.append(_heard(synapse, weights[name], given, made))
    return found


def _heard(synapse: Synapse, weight: Tensor, x: Tensor, y: Tensor) -> Heard:
    shapes = x.shape[1:], y.shape[1:]
    return Heard(
        x,
        synapse_fan_out(synapse, weight, *shapes),
        synapse_fan_out(synapse, torch.ones_like(weight), *shapes),
        y.numel() * weight[0].numel(),
    )


def neurobench_rows(name: str, case: Case, found: dict[str, float] | None) -> list[Row]:
    """Return what NeuroBench counts, summed over the batch.

    Args:
        name: of the case.
        case: the network.
        found: what it counted; what its definitions say if left out.
    """
    ledger, heard = _both(case)
    total = ledger.total
    weights = [synapse.weight for synapse in case.network.synapse_nodes.values()]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    share = zeros / sum(weight.numel() for weight in weights)
    updates, spiking = total.neuron_updates, total.spikes
    dense = BATCH * STEPS * sum(facts.dense for facts in ledger.facts.values())
    synaptic = [facts for facts in ledger.facts.values() if facts.weights]
    defined: dict[str, tuple[float, str, float, str]] = {
        "Effective_ACs": (
            total.synaptic_additions,
            "synaptic_additions",
            _sum(heard, lambda each: each.looks_ternary, lambda each: each.reached(each.fan_out)),
            "pooled spikes are multiplied there; here they reach the synapse one by one",
        ),
        "Effective_MACs": (
            total.macs,
            "macs",
            _sum(
                heard, lambda each: not each.looks_ternary, lambda each: each.reached(each.fan_out)
            ),
            {
                "image": "zeros of a real input count nothing there, and a constant input counts "
                "at every step",
                "silent": "real numbers that are all 0 are taken for spikes there",
            }.get(
                name, "pooled spikes are multiplied there; here they reach the synapse one by one"
            ),
        ),
        "Dense": (
            dense,
            "dense",
            _sum(heard, lambda _: True, lambda each: BATCH * int(each.full.sum())),
            "weights that are 0 count there"
            if name == "pruned"
            else "the pool goes into the synapse here: four inputs for one",
        ),
        "ConnectionSparsity": (
            round(1 - sum(f.weights for f in synaptic) / sum(w.numel() for w in weights), 4),
            "weights",
            round(share, 4),
            "",
        ),
        "ParameterCount": (
            ledger.parameters,
            "parameters",
            sum(p.numel() for p in case.network.parameters()),
            "",
        ),
        "ActivationSparsity": (
            (updates - spiking) / updates,
            "spikes",
            (updates - spiking) / updates,
            "",
        ),
        "MembraneUpdates": (
            total.active_updates,
            "active_updates",
            changed_potentials(case),
            "a potential that changes counts there, and every one at the first step; here a step "
            "with current or a spike",
        ),
        "NeuronOperations": (
            total.decays + ledger_neuron_additions(ledger) + total.resets + total.comparisons,
            "decays + additions + resets + comparisons",
            4 * changed_potentials(case),
            "four operations of each potential that changes there; here those of the equations, at "
            "every step",
        ),
    }
    return _rows(name, "neurobench", defined, found)


def spikingjelly_rows(name: str, case: Case, found: dict[str, float] | None) -> list[Row]:
    """Return what SpikingJelly counts; arguments as for :func:`neurobench_rows`."""
    ledger, heard = _both(case)
    pooled = "the input of a pooled layer is not 0 or 1, so it is multiplied there"
    defined: dict[str, tuple[float, str, float, str]] = {
        "synop": (
            ledger.total.synaptic_additions,
            "synaptic_additions",
            _sum(heard, lambda each: each.looks_binary, lambda each: each.reached(each.full)),
            "weights that are 0 count there" if name == "pruned" else pooled,
        ),
        "mac": (
            ledger.total.macs,
            "macs",
            _sum(heard, lambda each: not each.looks_binary, lambda each: each.products),
            {
                "image": "zeros of the padding count there, and a constant input at every step",
                "silent": "real numbers that are all 0 are taken for spikes there",
            }.get(name, pooled),
        ),
    }
    return _rows(name, "spikingjelly", defined, found)


def ledger_neuron_additions(ledger: Ledger) -> float:
    """Return the additions of neurons' own equations."""
    return sum(
        counts.additions
        for name, counts in ledger.layers.items()
        if ledger.facts[name].kind == "neurons"
    )


@torch.no_grad()
def changed_potentials(case: Case) -> int:
    """Count potentials that differ from those a step before, before any reset; all at the first.

    snnTorch resets at the next step, so what it keeps is the potential with the spike still in it.
    """
    network = case.network
    state = network.initial_state(BATCH)
    weights = network.effective_weights()
    before: dict[str, Tensor] = {}
    found = 0
    for x in case.steps:
        potentials = {name: state[name] for name in network.neuron_nodes}
        values, state = network.advance(x, state, weights)
        for name, layer in network.neuron_nodes.items():
            current = values[network.sources[name][0]]
            charged = layer.neuron.charge(current, potentials[name]).membrane_potential
            previous = before.get(name)
            changed = charged.numel() if previous is None else (charged != previous).sum()
            found += int(changed)
            before[name] = charged
    return found


def _both(case: Case) -> tuple[Ledger, list[Heard]]:
    ledger = count_network(case.network, case.steps, signal=case.signal)
    with torch.no_grad():
        return ledger, hear(case.network, case.steps)


def _sum(
    heard: Sequence[Heard], chosen: Callable[[Heard], bool], number: Callable[[Heard], int]
) -> int:
    return sum(number(each) for each in heard if chosen(each))


def _rows(
    case: str,
    tool: str,
    defined: dict[str, tuple[float, str, float, str]],
    found: dict[str, float] | None,
) -> list[Row]:
    rows = []
    for quantity, (ours, column, by_definition, reason) in defined.items():
        theirs = by_definition if found is None else found[quantity]
        why = reason if theirs != ours else ""
        rows.append(Row(case, tool, quantity, ours, column, theirs, by_definition, why))
    return rows


if __name__ == "__main__":
    main(energy_agreement)
