"""What :mod:`benchmarks.graph` measures, and the process that measures the memory of one row."""

import gc
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.memory_row import CLEAR_REFS, status_mb
from benchmarks.peers.naive_messages import naive_messages
from neuro.errors import UsageError
from neuro.graph import KnowledgeGraph, MessageGraph
from neuro.kernels import RelationalGraph, delayed_message

OURS, NAIVE = "neuro", "naive torch"
CONTENDERS = (OURS, NAIVE)
DECAY, GAIN = math.exp(-1 / 4), math.e / 4
CANDIDATES = 257
"""Nodes of a query that are scored in training: the answer and 256 others."""

Quantity = Literal["inference", "training"]


@dataclass(frozen=True)
class Task:
    """A graph, queries and neurons.

    Attributes:
        folder: below the data folder.
        quantity: ``inference``, or ``training`` with the gradients of all that is learnt.
        queries: B.
        linear_scale: of what messages are mixed to.
        busy: whether biases are drawn so that all nodes fire; else they are those of a network
            that has learnt nothing yet.
        neurons: d.
        timesteps: T.
    """

    folder: str
    quantity: Quantity
    queries: int
    linear_scale: float = 1.0
    busy: bool = False
    neurons: int = 32
    timesteps: int = 10

    @property
    def name(self) -> str:
        """Name in results."""
        rate = ", busy" if self.busy else ""
        return f"{self.quantity}: {Path(self.folder).name}, B = {self.queries}{rate}"


@dataclass(frozen=True)
class Problem:
    """A task's tensors: ``learnt`` are drive, delay, weight and bias."""

    task: Task
    graph: RelationalGraph
    heads: Tensor
    learnt: tuple[Tensor, Tensor, Tensor, Tensor]
    read_out: Tensor
    of_decoded: Tensor

    def decode(self, contender: str, *learnt: Tensor) -> Tensor:
        """Run all steps one way; return ``[B, N, d]``."""
        given: Any = (self.graph, self.heads, *learnt, self.read_out)
        numbers: Any = {"decay": DECAY, "gain": GAIN, "linear_scale": self.task.linear_scale}
        if contender == NAIVE:
            return naive_messages(*given, **numbers)
        return delayed_message(*given, **numbers, keep_spikes=False).decoded

    def run(self, contender: str) -> tuple[Tensor, ...]:
        """Return what is decoded, and for training the gradients."""
        if self.task.quantity == "inference":
            with torch.no_grad():
                return (self.decode(contender, *self.learnt),)
        learnt = [each.detach().requires_grad_() for each in self.learnt]
        decoded = self.decode(contender, *learnt)
        return (decoded.detach(), *torch.autograd.grad(decoded, learnt, self.of_decoded))


def read_graph(folder: Path) -> tuple[RelationalGraph, int]:
    """Return the facts of ``train.txt`` and their inverses, and the number of relations of both."""
    file = folder / "train.txt"
    if not file.is_file():
        raise UsageError(f"There is no {file}; --data-dir names the folder that holds the graphs.")
    names = KnowledgeGraph.read(file)
    graph = MessageGraph.of(names.facts, nodes=len(names.entities), relations=len(names.relations))
    return graph.whole, graph.relations


def draw_problem(task: Task, graph: RelationalGraph, relations: int) -> Problem:
    """Draw what a network of such neurons starts from."""
    generator = torch.Generator().manual_seed(0)
    batch, neurons = task.queries, task.neurons
    bound = 1 / math.sqrt(neurons)

    def uniform(*shape: int) -> Tensor:
        return (2 * torch.rand(shape, generator=generator) - 1) * bound

    drive = torch.randn((batch, neurons), generator=generator) + 1
    logits = drive @ uniform(neurons, relations * neurons) + uniform(relations * neurons)
    delay = 4 * logits.reshape(batch, relations, neurons).transpose(0, 1).sigmoid()
    weight, bias = uniform(neurons, neurons), uniform(neurons)
    if task.busy:
        bias = torch.rand(neurons, generator=generator) / task.linear_scale
    read_out = 0.95 ** torch.arange(task.timesteps)
    of_decoded = torch.zeros(0)
    if task.quantity == "training":
        of_decoded = torch.zeros((batch, graph.nodes, neurons))
        candidates = torch.randint(graph.nodes, (batch, CANDIDATES), generator=generator)
        rows = torch.randn((batch, CANDIDATES, neurons), generator=generator)
        of_decoded[torch.arange(batch)[:, None], candidates] = rows
    return Problem(
        task,
        graph,
        torch.randint(graph.nodes, (batch,), generator=generator),
        (drive, delay.contiguous(), weight, bias),
        read_out / read_out.sum(),
        of_decoded,
    )


def draw_small(task: Task) -> Problem:
    """Return a problem of the same kind that takes no memory to speak of."""
    ring = torch.arange(50)
    return draw_problem(task, RelationalGraph.of(ring, ring % 2, ring.roll(1), nodes=50), 2)


def measure_here(task: Task, contender: str, data_dir: Path) -> dict[str, float]:
    """Return by how much one call raises the peak memory of this process, in 2^20 bytes.

    What it returns counts.
    """
    problem = draw_problem(task, *read_graph(data_dir / task.folder))
    draw_small(task).run(contender)
    gc.collect()
    before = status_mb("VmRSS")
    CLEAR_REFS.write_text("5")
    problem.run(contender)
    return {"peak_memory_mb": status_mb("VmHWM") - before}


if __name__ == "__main__":
    run: Callable[..., dict[str, float]] = measure_here
    given = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    found = run(Task(**given["task"]), given["contender"], Path(given["data_dir"]))
    print(json.dumps(found))
