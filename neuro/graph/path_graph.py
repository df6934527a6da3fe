"""The paths that explain an answer as one networkx graph."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neuro.graph.findings import Explanation, Path
from neuro.graph.triples import KnowledgeGraph

if TYPE_CHECKING:
    import networkx


def explanation_graph(
    explanation: Explanation, names: KnowledgeGraph, *, paths: int | None = None
) -> "networkx.MultiDiGraph":
    """Return the nodes and edges of the paths; edges run the way spikes did.

    The graph itself has ``head``, ``relation``, ``inverse``, ``tail``, ``score`` and ``steps``. Its
    nodes are entities by name, with

    - ``entity``: the number;
    - ``role``: "head", "tail" or "between";
    - ``arrival``: step of the node's first spike, ``arrival_median`` the median over its neurons,
      ``fired`` how many of them fired (None, None and 0 where it was silent);
    - ``layer``: place from left to right in a picture, by the most hops that a path takes to it;
      head and tail stand alone, first and last;
    - ``paths``: ranks, from 1, of the paths it is on.

    Its edges have the relation as their key, with " (inverse)" where the fact runs the other way,
    and ``relation``, ``inverse``, ``weight`` (the importance, which may be negative), ``duration``
    (steps) and ``paths``.

    Args:
        explanation: of :func:`neuro.graph.explain_paths`.
        names: the graph whose nodes it speaks of.
        paths: only so many, the most important ones.
    """
    import networkx

    shown = explanation.paths[:paths]
    query = explanation.query
    graph = networkx.MultiDiGraph(
        head=names.entities[query.head],
        relation=names.relations[query.relation],
        inverse=query.inverse,
        tail=names.entities[explanation.tail],
        score=explanation.score,
        steps=explanation.steps,
    )
    roles = {query.head: "head", explanation.tail: "tail"}
    for node, layer in _layers(shown, explanation.tail).items():
        arrival = explanation.arrivals.get(node)
        graph.add_node(
            names.entities[node],
            entity=node,
            role=roles.get(node, "between"),
            arrival=None if arrival is None else arrival.earliest,
            arrival_median=None if arrival is None else arrival.median,
            fired=0 if arrival is None else arrival.fired,
            layer=layer,
            paths=tuple(rank for rank, path in enumerate(shown, 1) if node in path.nodes),
        )
    for hop in {hop[:4]: hop for path in shown for hop in path.hops}.values():
        relation = names.relations[hop.relation]
        graph.add_edge(
            names.entities[hop.source],
            names.entities[hop.destination],
            key=f"{relation} (inverse)" if hop.inverse else relation,
            relation=relation,
            inverse=hop.inverse,
            weight=hop.importance,
            duration=hop.duration,
            paths=tuple(rank for rank, path in enumerate(shown, 1) if hop in path.hops),
        )
    return graph


def _layers(paths: Sequence[Path], tail: int) -> dict[int, int]:
    """Return the layer of each node, without gaps."""
    hops: dict[int, int] = {}
    for path in paths:
        for hop, node in enumerate(path.nodes):
            hops[node] = max(hop, hops.get(node, 0))
    if not hops:
        return {}
    del hops[tail]
    taken = sorted(set(hops.values()))
    return {**{node: taken.index(hop) for node, hop in hops.items()}, tail: len(taken)}
