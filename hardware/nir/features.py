"""One small graph for each thing a reader may get right or wrong, with samples that make it fire.

    python -m neuro.hardware.nir.features [--python INTERPRETER]

prints the table of ``docs/nir.md``: each graph through each reader, as it is, without a dialect.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

from neuro.hardware.nir.conformance import READERS, Job, Row, expected_outputs, run_reader
from neuro.hardware.nir.file import write_nir
from neuro.hardware.nir.imports import interpret

DT = 1e-4
STEPS = 40
DECAY = 0.9
MAP_DECAY = 0.8
MAP = (2, 8, 8)


@dataclass(frozen=True)
class Feature:
    """A graph and samples ``(1, T, ...)`` for it."""

    graph: nir.NIRGraph
    samples: NDArray[np.float32]


def weights() -> NDArray[np.float32]:
    """Return the 5 x 8 weights of the dense graphs, for LIF neurons with ``r = 1``."""
    return (_drawn() / (1 - DECAY)).astype(np.float32)


def lif(shape: tuple[int, ...], decay: Any = DECAY, **numbers: Any) -> nir.LIF:
    """Return LIF neurons with ``r = 1``, threshold 1, leak and reset to 0 unless given."""
    given = {"r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **numbers}
    tau = DT / (1 - np.asarray(decay, np.float64))
    return nir.LIF(tau=_full(shape, tau), **{key: _full(shape, v) for key, v in given.items()})


def cuba(r: float | None = None, w_in: float | None = None, **numbers: Any) -> nir.CubaLIF:
    """Return five CubaLIF neurons; ``r`` and ``w_in`` by default of gain 1."""
    tau_syn, tau_mem = DT / 0.3, DT / 0.2
    given = {"v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **numbers}
    return nir.CubaLIF(
        tau_syn=_full((5,), tau_syn),
        tau_mem=_full((5,), tau_mem),
        r=_full((5,), tau_mem / DT if r is None else r),
        w_in=_full((5,), tau_syn / DT if w_in is None else w_in),
        **{key: _full((5,), value) for key, value in given.items()},
    )


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...] = (8,)) -> nir.NIRGraph:
    """Return a graph of nodes one after the other."""
    named = {"input": nir.Input(input_type=np.array(shape))}
    named |= {f"{number}_{type(node).__name__}": node for number, node in enumerate(nodes, 1)}
    named["output"] = nir.Output(output_type=None)
    names = list(named)
    return nir.NIRGraph(nodes=named, edges=list(pairwise(names)), metadata={"dt": DT})


def features() -> dict[str, Feature]:
    """Return every feature by name."""
    return {name: _feature(build) for name, build in _BUILDERS.items()}


def _feature(build: Callable[[], nir.NIRGraph]) -> Feature:
    graph = build()
    shape = tuple(int(side) for side in graph.nodes["input"].input_type["input"])
    rng = np.random.default_rng(7)
    rng.normal(size=(5, 8))  # the weights of the dense graphs are drawn first
    rate = 0.3 if len(shape) == 1 else 0.2
    return Feature(graph, (rng.random((1, STEPS, *shape)) < rate).astype(np.float32))


def _drawn() -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = np.random.default_rng(7).normal(0.35, 0.6, (5, 8))
    return drawn


def _full(shape: tuple[int, ...], value: Any) -> NDArray[np.float32]:
    return np.broadcast_to(np.asarray(value, np.float32), shape).copy()


def _dense(**numbers: Any) -> nir.NIRGraph:
    return chain(nir.Linear(weight=weights()), lif((5,), **numbers))


def _biased() -> nir.NIRGraph:
    bias = np.full(5, 0.3, np.float32)
    return chain(nir.Affine(weight=weights(), bias=bias), lif((5,)))


def _integrate(r: float, factor: float) -> nir.NIRGraph:
    neurons = nir.IF(r=_full((5,), r), v_threshold=_full((5,), 1), v_reset=_full((5,), 0))
    return chain(nir.Linear(weight=(factor * weights()).astype(np.float32)), neurons)


def _integrators() -> nir.NIRGraph:
    node = nir.LI(tau=_full((5,), DT / 0.1), r=_full((5,), 1), v_leak=_full((5,), 0))
    return chain(nir.Linear(weight=weights()), node)


def _cuba(gain: float, **numbers: Any) -> nir.NIRGraph:
    return chain(nir.Linear(weight=(gain * _drawn()).astype(np.float32)), cuba(**numbers))


def _recurrent() -> nir.NIRGraph:
    graph = _dense()
    inner = np.random.default_rng(8).normal(0, 0.4, (5, 5)) / (1 - DECAY)
    graph.nodes["back"] = nir.Linear(weight=inner.astype(np.float32))
    graph.edges[-1:-1] = [("2_LIF", "back"), ("back", "2_LIF")]
    return graph


def _branches(skip: bool) -> nir.NIRGraph:
    """Two paths from the first neurons to the second: both weighted, or one of them bare."""
    rng = np.random.default_rng(5)
    inner = [
        nir.Linear(weight=(rng.normal(0.2, 0.5, (5, 5)) / (1 - DECAY)).astype(np.float32))
        for _ in range(2)
    ]
    graph = chain(nir.Linear(weight=weights()), lif((5,)), inner[0], lif((5,)))
    if skip:
        graph.edges.append(("2_LIF", "4_LIF"))
    else:
        graph.nodes["other"] = inner[1]
        graph.edges += [("2_LIF", "other"), ("other", "4_LIF")]
    return graph


def _nested() -> nir.NIRGraph:
    inner = chain(lif((5,)), shape=(5,))
    return chain(nir.Linear(weight=weights()), inner)


def _conv(stride: int = 1, padding: Any = (1, 1), dilation: int = 1, groups: int = 1) -> nir.Conv2d:
    drawn = np.random.default_rng(7).normal(0, 1, (4 if groups > 1 else 3, 2 // groups, 3, 3))
    return nir.Conv2d(
        input_shape=MAP[1:],
        weight=(drawn / (1 - MAP_DECAY)).astype(np.float32),
        stride=(stride, stride),
        padding=padding,
        dilation=(dilation, dilation),
        groups=groups,
        bias=np.zeros(len(drawn), np.float32),
    )


def _map(conv: nir.Conv2d, *after: nir.NIRNode, **numbers: Any) -> nir.NIRGraph:
    if conv.groups != 1:  # nir works out their types wrongly
        conv.input_type = {"input": np.array(MAP)}
    shape = tuple(int(side) for side in conv.output_type["output"])
    return chain(conv, lif(shape, MAP_DECAY, **numbers), *after, shape=MAP)


def _pool(kind: type[Any]) -> nir.NIRNode:
    sides = {key: np.array([2, 2]) for key in ("kernel_size", "stride")}
    return kind(**sides, padding=np.array([0, 0]))


def _flattened() -> nir.NIRGraph:
    rng = np.random.default_rng(9)
    flatten = nir.Flatten(input_type={"input": np.array(MAP)}, start_dim=0, end_dim=-1)
    weight = (rng.normal(0, 0.3, (5, 128)) / (1 - DECAY)).astype(np.float32)
    affine = nir.Affine(weight=weight, bias=np.zeros(5, np.float32))
    return chain(flatten, affine, lif((5,)), shape=MAP)


def _conv1d() -> nir.NIRGraph:
    weight = np.random.default_rng(7).normal(0, 1, (3, 2, 3)) / (1 - MAP_DECAY)
    conv = nir.Conv1d(
        input_shape=9,
        weight=weight.astype(np.float32),
        stride=1,
        padding=1,
        dilation=1,
        groups=1,
        bias=np.zeros(3, np.float32),
    )
    return chain(conv, lif((3, 9), MAP_DECAY), shape=(2, 9))


def _cuba_integrators() -> nir.NIRGraph:
    node = cuba()
    numbers = {key: getattr(node, key) for key in ("tau_syn", "tau_mem", "r", "w_in", "v_leak")}
    return chain(nir.Linear(weight=weights()), nir.CubaLI(**numbers))


SPREAD = np.linspace(0.75, 0.95, 5)

_BUILDERS: dict[str, Callable[[], nir.NIRGraph]] = {
    "LIF, r = 1": _dense,
    "LIF, r = 1/(1-b)": lambda: chain(
        nir.Linear(weight=_drawn().astype(np.float32)), lif((5,), r=1 / (1 - DECAY))
    ),
    "LIF after Affine": _biased,
    "LIF, threshold 1.7": lambda: _dense(v_threshold=1.7),
    "LIF, own tau and threshold each": lambda: _dense(
        decay=SPREAD, v_threshold=np.linspace(0.7, 1.3, 5)
    ),
    "LIF, v_reset = -0.3": lambda: _dense(v_reset=-0.3),
    "LIF, v_leak = 0.2": lambda: _dense(v_leak=0.2),
    "IF, r = 1/dt": lambda: _integrate(1 / DT, 0.03),
    "IF, r = 1": lambda: _integrate(1, 0.03 / DT),
    "CubaLIF, r = tau_mem/dt, w_in = tau_syn/dt": lambda: _cuba(1.0),
    "CubaLIF, r = w_in = 1": lambda: _cuba(1 / (0.3 * 0.2), r=1.0, w_in=1.0),
    "LI": _integrators,
    "CubaLI": _cuba_integrators,
    "I": lambda: chain(nir.Linear(weight=weights()), nir.I(r=_full((5,), 1 / DT))),
    "Threshold": lambda: chain(
        nir.Linear(weight=weights()), nir.Threshold(threshold=_full((5,), 1))
    ),
    "Scale": lambda: chain(
        nir.Linear(weight=weights()), lif((5,)), nir.Scale(scale=_full((5,), 0.5))
    ),
    "loop LIF -> Linear -> LIF": _recurrent,
    "nested graph": _nested,
    "connection past a layer": lambda: _branches(skip=True),
    "two branches added up": lambda: _branches(skip=False),
    "Delay of 2 steps": lambda: chain(
        nir.Linear(weight=weights()), lif((5,)), nir.Delay(delay=_full((5,), 2 * DT))
    ),
    "Conv1d": _conv1d,
    "Conv2d": lambda: _map(_conv()),
    "Conv2d, stride 2": lambda: _map(_conv(stride=2)),
    "Conv2d, padding 'same'": lambda: _map(_conv(padding="same")),
    "Conv2d, dilation 2": lambda: _map(_conv(dilation=2)),
    "SumPool2d": lambda: _map(_conv(), _pool(nir.SumPool2d)),
    "AvgPool2d": lambda: _map(_conv(), _pool(nir.AvgPool2d)),
    "Flatten, Affine, LIF": _flattened,
}


def matrix(python: str = sys.executable, timeout: float = 300.0) -> dict[str, dict[str, Row]]:
    """Run every feature in every reader: ``{feature: {reader: row}}``."""
    found: dict[str, dict[str, Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for number, (name, feature) in enumerate(features().items()):
            path = Path(folder) / f"{number}.nir"
            write_nir(feature.graph, path)
            outputs = expected_outputs(interpret(feature.graph), feature.samples)
            jobs.append(Job(path, feature.samples, outputs, DT))
            found[name] = {}
        for reader in READERS:
            rows = run_reader(reader, jobs, python, timeout)
            for name, row in zip(found, rows, strict=True):
                found[name][reader] = row
    return found


def markdown(rows: dict[str, dict[str, Row]]) -> str:
    """Return a matrix as a table."""
    first = next(iter(rows.values()))
    heads = [f"{each.reader} {each.version}".strip() for each in first.values()]
    lines = [f"| graph | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, cells in rows.items():
        shown = [_cell(row) for row in cells.values()]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    if row.verdict == "differs" and row.agreement is not None:
        return f"**differs** ({100 * row.agreement:.1f} % equal)"
    return row.verdict


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m neuro.hardware.nir.features")
    parser.add_argument("--python", default=sys.executable, help="the interpreter with the readers")
    print(markdown(matrix(parser.parse_args().python)))


if __name__ == "__main__":
    main()
