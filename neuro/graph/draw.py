"""A picture of the paths that explain an answer, from the head on the left to the tail."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch

from neuro.errors import NeuroError
from neuro.graph.describe import query_text, steps_text
from neuro.graph.findings import Explanation, Path
from neuro.graph.path_graph import explanation_graph
from neuro.graph.triples import KnowledgeGraph

if TYPE_CHECKING:
    import networkx

MOST_NODES = 30
"""More would not be legible."""

DOTS = 120
"""Per inch."""

_COLOURS = {"head": "tab:orange", "tail": "tab:green", "between": "0.93"}
_LONGEST_NAME = 24
_COLUMN, _ROW, _TITLE = 3.4, 1.0, 0.4  # inches
_WIDEST = 5.0  # points
_BEND = 0.3
_LABEL = 1.0, 0.32  # inches
_ALONG = (0.5, 0.35, 0.66, 0.28, 0.74, 0.22, 0.8, 0.86)
"""Where else along its edge a label may stand."""

Positions = Mapping[str, tuple[float, float]]


class _Curve(NamedTuple):
    """An edge, its attributes, its ends, and how much it is bent."""

    source: str
    destination: str
    edge: Mapping[str, Any]
    start: tuple[float, float]
    end: tuple[float, float]
    bend: float

    def at(self, share: float) -> tuple[float, float]:
        """Return a point of the curve that arc3 draws, were a unit as wide as it is high.

        That is a parabola whose middle is off the chord by half of ``bend`` times its length, in
        inches, hence the two scales.
        """
        width = (self.end[0] - self.start[0]) * _COLUMN
        height = (self.end[1] - self.start[1]) * _ROW
        off = 2 * share * (1 - share) * self.bend
        x = self.start[0] + share * (self.end[0] - self.start[0]) + off * height / _COLUMN
        y = self.start[1] + share * (self.end[1] - self.start[1]) - off * width / _ROW
        return x, y


def draw_paths(explanation: Explanation, names: KnowledgeGraph, file: File) -> None:
    """Draw the paths as one graph and write a PNG, whole or not at all.

    Arrows run the way spikes did; an edge that is the inverse of a fact says so. A wider edge is
    more important, a dashed one made the score less. Paths are added, the most important first,
    as long as there are no more than 30 nodes; the title tells how many.

    Args:
        explanation: of :func:`neuro.graph.explain_paths`.
        names: the graph whose nodes it speaks of.
        file: is replaced if it is there.

    Raises:
        NeuroError: there is no path to draw, or the file cannot be written.
    """
    if not explanation.paths:
        raise NeuroError(
            f"No path to draw: none explains {query_text(explanation.query, names)} with "
            f"{names.entities[explanation.tail]}."
        )
    shown = _legible(explanation.paths)
    graph = explanation_graph(explanation, names, paths=shown)
    columns = _columns(graph)
    positions = _positions(graph, columns)
    curves = _curves(graph, positions)
    low, high = _room(columns, curves)
    figure = _figure(len(columns), high - low)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(low, high)
    axes.set_title(_title(explanation, names, shown), size=10, parse_math=False)
    boxes = _draw_nodes(axes, graph, positions)
    figure.draw_without_rendering()  # arrows end at the boxes, whose sizes are known from now on
    _draw_edges(axes, graph, curves, list(positions.values()), boxes)
    _save(figure, file)


def _legible(paths: Sequence[Path]) -> int:
    """Return how many paths, from the first, together have no more than ``MOST_NODES`` nodes."""
    nodes: set[int] = set()
    for count, path in enumerate(paths):
        nodes.update(path.nodes)
        if count and len(nodes) > MOST_NODES:
            return count
    return len(paths)


def _columns(graph: "networkx.MultiDiGraph") -> list[list[str]]:
    """Return the nodes of each layer."""
    columns = defaultdict(list)
    for node, layer in graph.nodes(data="layer"):
        columns[layer].append(node)
    return [columns[layer] for layer in sorted(columns)]


def _positions(graph: "networkx.MultiDiGraph", columns: list[list[str]]) -> Positions:
    """Place each column's nodes in the order of the mean height of their neighbours.

    networkx's ``multipartite_layout`` keeps the order it finds, so that edges cross.
    """
    found: dict[str, tuple[float, float]] = {}

    def height(node: str) -> float:
        ends = [*(edge[0] for edge in graph.in_edges(node)), *(e[1] for e in graph.out_edges(node))]
        placed = [found[each][1] for each in ends if each in found]
        return sum(placed) / max(len(placed), 1)

    for _ in range(4):
        for x, column in enumerate(columns):
            ordered = sorted(column, key=height)
            for place, node in enumerate(ordered):
                # Every other column is moved a little, lest an edge runs behind a node.
                lift = 0.18 * (x % 2) * (len(columns) > 2 and 0 < x < len(columns) - 1)
                found[node] = (float(x), place - (len(ordered) - 1) / 2 + lift)
    return found


def _draw_nodes(
    axes: Axes, graph: "networkx.MultiDiGraph", positions: Positions
) -> dict[str, Patch | None]:
    """Write the names; return the box of each."""
    boxes: dict[str, Patch | None] = {}
    for node, (x, y) in positions.items():
        text = axes.text(
            x,
            y,
            _shortened(node),
            ha="center",
            va="center",
            size=9,
            parse_math=False,
            zorder=3,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": _COLOURS[graph.nodes[node]["role"]],
                "edgecolor": "0.3",
            },
        )
        boxes[node] = text.get_bbox_patch()
    return boxes


def _curves(graph: "networkx.MultiDiGraph", positions: Positions) -> list[_Curve]:
    """Bend the edges so that none hides another, nor the nodes of a column it passes."""
    between = defaultdict(list)
    for source, destination, edge in sorted(
        graph.edges(data=True), key=lambda edge: min(edge[2]["paths"])
    ):
        between[source, destination].append(edge)
    curves = []
    for (source, destination), parallel in between.items():
        start, end = positions[source], positions[destination]
        both_ways = (destination, source) in between
        for place, edge in enumerate(parallel):
            bend = _BEND * (place - (len(parallel) - 1) / 2 + both_ways)
            if abs(end[0] - start[0]) != 1:
                bend += _BEND  # within a column, or past one
            curves.append(_Curve(source, destination, edge, start, end, bend))
    return curves


def _room(columns: list[list[str]], curves: Sequence[_Curve]) -> tuple[float, float]:
    """Return the lowest and the highest place that the picture shows."""
    half = (max(2, *map(len, columns)) + 0.2) / 2
    heights = [curve.at(share)[1] for curve in curves for share in (0.25, 0.5, 0.75)]
    return min(-half, min(heights) - _LABEL[1] / _ROW), max(half, max(heights) + _LABEL[1] / _ROW)


def _draw_edges(
    axes: Axes,
    graph: "networkx.MultiDiGraph",
    curves: Sequence[_Curve],
    taken: list[tuple[float, float]],
    boxes: Mapping[str, Patch | None],
) -> None:
    """Draw arrows and labels; no label stands on what is ``taken``."""
    most = max(abs(curve.edge["weight"]) for curve in curves)
    for curve in curves:
        source, destination, edge = curve.source, curve.destination, curve.edge
        share = abs(edge["weight"]) / most
        # a label stands where fewer edges meet
        first = 0.6 if graph.out_degree(source) > graph.in_degree(destination) else 0.42
        places = [curve.at(along) for along in (first, *_ALONG)]
        place_of_label = next((each for each in places if _free(each, taken)), places[0])
        taken.append(place_of_label)
        arrow = FancyArrowPatch(
            curve.start,
            curve.end,
            arrowstyle="-|>",
            mutation_scale=10 + 4 * share,
            connectionstyle=f"arc3,rad={curve.bend}",
            linewidth=0.6 + (_WIDEST - 0.6) * share,
            linestyle="-" if edge["weight"] > 0 else "--",
            color="tab:blue",
            alpha=0.7,
            patchA=boxes[source],
            patchB=boxes[destination],
            shrinkA=1,
            shrinkB=3,
            zorder=1,
        )
        axes.add_patch(arrow)
        axes.text(
            *place_of_label,
            _label(edge),
            ha="center",
            va="center",
            size=7,
            parse_math=False,
            zorder=2,
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )


def _free(place: tuple[float, float], taken: Iterable[tuple[float, float]]) -> bool:
    """Whether a label fits there beside what stands already."""
    wide, high = _LABEL
    return all(
        abs(place[0] - x) * _COLUMN > wide or abs(place[1] - y) * _ROW > high for x, y in taken
    )


def _label(edge: Mapping[str, Any]) -> str:
    inverse = " (inverse)" if edge["inverse"] else ""
    return f"{_shortened(edge['relation'])}{inverse}\n{steps_text(edge['duration'])}"


def _title(explanation: Explanation, names: KnowledgeGraph, shown: int) -> str:
    count = len(explanation.paths)
    which = f"{count} paths" if shown == count else f"{shown} of {count} paths"
    if count == 1:
        which = "one path"
    fact = query_text(explanation.query, names, explanation.tail)
    return f"{fact}: score {explanation.score:.4f}, {which}"


def _shortened(name: str) -> str:
    return (
        name
        if len(name) <= _LONGEST_NAME
        else name[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def _figure(columns: int, rows: float) -> Figure:
    height = _ROW * rows
    figure = Figure(figsize=(_COLUMN * columns, height + _TITLE), dpi=DOTS)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=height / (height + _TITLE))
    return figure


def _save(figure: Figure, file: File) -> None:
    temporary = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(temporary, format="png", dpi=DOTS)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise NeuroError(f"Cannot write the picture {file}: {error.strerror}.") from error
