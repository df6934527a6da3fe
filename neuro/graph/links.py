"""Link prediction: one undirected graph of one relation, some of whose links are held out."""

from collections.abc import Sequence
from pathlib import Path

import torch

from neuro.errors import DataError
from neuro.graph.planetoid import read_neighbours
from neuro.graph.tasks import ReasoningTask
from neuro.graph.triples import KnowledgeGraph, read_columns

RELATION = "linked"
TRAIN_SHARE, VALID_SHARE = 0.85, 0.05


def link_prediction_task(
    name: str, nodes: Sequence[str], links: Sequence[tuple[int, int]], *, seed: int = 0
) -> ReasoningTask:
    """Split links at random, 85 % to train, 5 % to validate, 10 % to test.

    A link listed again, in either direction, counts once, in the direction listed first: else a
    held-out link might be trained on, reversed. Links from a node to itself are left out. The
    split is a permutation from a torch generator.

    Args:
        name: of the task.
        nodes: name of each node.
        links: pairs of node numbers.
        seed: of the split.

    Raises:
        DataError: fewer than 20 links remain.
    """
    straight = [(head, tail) for head, tail in links if head != tail]
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for head, tail in straight:
        first.setdefault((min(head, tail), max(head, tail)), (head, tail))
    if len(first) < 20:
        raise DataError(
            f"{name}: only {len(first)} different links between two nodes; at least 20 are needed "
            "to hold some out."
        )
    triples = torch.tensor([(head, 0, tail) for head, tail in first.values()])
    order = torch.randperm(len(triples), generator=torch.Generator().manual_seed(seed))
    first_valid = int(TRAIN_SHARE * len(triples))
    first_test = first_valid + int(VALID_SHARE * len(triples))
    train, valid, test = triples[order].tensor_split([first_valid, first_test])
    graph = KnowledgeGraph(entities=tuple(nodes), relations=(RELATION,), facts=train)
    again, loops = len(straight) - len(first), len(links) - len(straight)
    notes = []
    if again:
        notes.append(f"Links listed again, in either direction, and dropped: {again:,}.")
    if loops:
        notes.append(f"Links from a node to itself, left out: {loops:,}.")
    return ReasoningTask(
        name=name,
        kind="link_prediction",
        graph=graph,
        valid=valid,
        test_graph=graph,
        test=test,
        valid_known=valid,
        test_known=test,
        notes=tuple(notes),
    )


def load_links(path: Path | str, *, name: str | None = None) -> ReasoningTask:
    """Load a link prediction task from a file.

    Args:
        path: a text file of lines ``node<TAB>node``, or a Planetoid file ``ind.<name>.graph``.
        name: of the task; the file's if None.

    The links of Planetoid's Cora and CiteSeer are not those of the LINQS archives, from which
    most published tables of link prediction are made: results are not comparable with these.

    Raises:
        DataError: the file is missing or malformed, or holds too few links.
    """
    path = Path(path)
    if path.suffix == ".graph":
        neighbours = read_neighbours(path)
        pairs = [(node, other) for node, others in neighbours.items() for other in others]
        nodes = [str(node) for node in range(len(neighbours))]
        return link_prediction_task(name or path.stem, nodes, pairs)
    rows = read_columns(path, "node<TAB>node")
    nodes = sorted({node for row in rows for node in row})
    numbers = {node: number for number, node in enumerate(nodes)}
    pairs = [(numbers[head], numbers[tail]) for head, tail in rows]
    return link_prediction_task(name or path.stem, nodes, pairs)
