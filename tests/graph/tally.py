"""Arithmetic and movement that count themselves, for loops that compute number by number."""

import math
from collections import defaultdict
from dataclasses import replace

import torch
from torch import nn

from neuro.energy import Counts, Ledger
from neuro.graph import GRSNN
from neuro.graph.operations import count_heard
from neuro.kernels import RelationalGraph

NODES, RELATIONS = 5, 3
EDGES = [(0, 0, 1), (1, 1, 2), (0, 2, 2), (2, 0, 3), (2, 1, 0), (3, 2, 1), (0, 0, 1), (4, 1, 4)]


def graph_of(edges: list[tuple[int, int, int]] = EDGES, nodes: int = NODES) -> RelationalGraph:
    columns = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).unbind(1)
    return RelationalGraph.of(*columns, nodes=nodes)


class Tally:
    """Arithmetic that counts itself, by layer."""

    def __init__(self) -> None:
        self.layers: dict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def at(self, layer: str, kind: str, value: float) -> float:
        self.layers[layer][kind] += 1
        return value

    def mac(self, layer: str, total: float, x: float, y: float) -> float:
        return self.at(layer, "macs", total + x * y)

    def add(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "additions", x + y)

    def times(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "multiplications", x * y)

    def more(self, layer: str, x: float, y: float) -> bool:
        return bool(self.at(layer, "comparisons", x > y))

    def most(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "comparisons", max(x, y))

    def least(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "comparisons", min(x, y))

    def move(self, layer: str, **numbers: int) -> None:
        """Count what is read and written, and other events without a value."""
        for kind, number in numbers.items():
            self.layers[layer][kind] += number

    def linear(self, layer: str, module: nn.Linear, x: list[float]) -> list[float]:
        out = module.bias.tolist()
        for _ in x:
            self.move(layer, activation_reads=1)
        for row, weights in enumerate(module.weight.tolist()):
            self.move(layer, weight_reads=1, activation_writes=1)
            for value, weight in zip(x, weights, strict=True):
                self.move(layer, weight_reads=1)
                out[row] = self.mac(layer, out[row], value, weight)
        return out

    def norm(self, layer: str, module: nn.LayerNorm, x: list[float]) -> list[float]:
        total = 0.0
        for value in x:
            self.move(layer, activation_reads=1, activation_writes=1, weight_reads=2)
            total = self.add(layer, total, value)
        mean = self.times(layer, total, 1 / len(x))
        centred = [self.add(layer, value, -mean) for value in x]
        squares = 0.0
        for value in centred:
            squares = self.mac(layer, squares, value, value)
        variance = self.add(layer, self.times(layer, squares, 1 / len(x)), module.eps)
        scale = self.at(layer, "functions", 1 / math.sqrt(variance))
        affine = zip(module.weight.tolist(), module.bias.tolist(), centred, strict=True)
        return [
            self.mac(layer, bias, self.times(layer, value, scale), weight)
            for weight, bias, value in affine
        ]

    def score(self, mlp: nn.Sequential, x: list[float]) -> float:
        hidden = []
        for value in self.linear("score", mlp[0], x):
            self.move("score", activation_reads=1, activation_writes=1)
            hidden.append(self.most("score", 0.0, value))
        return self.linear("score", mlp[2], hidden)[0]

    def ledger(self, like: Ledger) -> Ledger:
        layers = {name: Counts(**self.layers.get(name, {})) for name in like.layers}
        assert self.layers.keys() <= layers.keys()
        return replace(like, layers=layers)


def made(module: nn.Linear | nn.Embedding, x: list[float], tally: Tally, layer: str) -> list[list]:
    """What a map makes of a query for each relation."""
    if isinstance(module, nn.Embedding):
        return module.weight.tolist()
    flat = tally.linear(layer, module, x)
    return [flat[first : first + len(x)] for first in range(0, len(flat), len(x))]


def loud_grsnn(seed: int, **options) -> GRSNN:
    """A network whose neurons fire: heads are driven hard, and so is who hears them."""
    torch.manual_seed(seed)
    chosen = {"hidden": 3, "timesteps": 7, **options}
    model = GRSNN(RELATIONS, **chosen).double()
    with torch.no_grad():
        model.query.weight.add_(0.7)
        model.linear.weight.abs_().mul_(2)
        for module in (model.delay_map, model.weight_map):
            if module is not None:
                module.weight.mul_(3)
    return model


def asked(model: GRSNN, graph: RelationalGraph, heads: list[int], relations: list[int]):
    """Run queries; return what counting takes."""
    of_relations = torch.tensor(relations)
    with torch.no_grad():
        features = model(graph, torch.tensor(heads), of_relations, keep_spikes=True)
    return model, graph, features, count_heard(model, graph, of_relations, features)
