"""A picture of the paths that explain an answer, from the head on the left to the tail."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as File

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch

from neuro.errors import NeuroError
from neuro.graph.describe import query_text, steps_text
from neuro.graph.explain import Explanation, Hop, Path
from neuro.graph.triples import KnowledgeGraph

MOST_NODES = 30
"""More would not be legible."""

DOTS = 120
"""Per inch."""

_HEAD, _TAIL, _BETWEEN = "tab:orange", "tab:green", "0.93"
_LONGEST_NAME = 24
_COLUMN, _ROW, _TITLE = 3.4, 1.0, 0.4  # inches
_WIDEST = 5.0  # points
_BEND = 0.3
_LABEL = 1.0, 0.32  # inches
_ALONG = (0.5, 0.35, 0.66, 0.28, 0.74, 0.22, 0.8, 0.86)
"""Where else along its edge a label may stand."""

Positions = Mapping[int, tuple[float, float]]


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
        NeuroError: there is no path to draw.
    """
    if not explanation.paths:
        raise NeuroError(
            f"No path to draw: none explains {query_text(explanation.query, names)} with "
            f"{names.entities[explanation.tail]}."
        )
    shown = _legible(explanation.paths)
    hops = {hop[:4]: hop for path in shown for hop in path.hops}.values()
    columns = _columns(shown, explanation.tail)
    figure = _figure(columns)
    axes = figure.subplots()
    axes.set_axis_off()
    positions = _positions(hops, columns)
    room = max(_height(columns), 2) + 0.2
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-room / 2, room / 2)
    axes.set_title(_title(explanation, names, len(shown)), size=10, parse_math=False)
    boxes = _draw_nodes(axes, explanation, names, positions)
    figure.draw_without_rendering()  # arrows end at the boxes, whose sizes are known from now on
    _draw_edges(axes, hops, names, positions, boxes)
    _save(figure, file)


def _legible(paths: Sequence[Path]) -> list[Path]:
    """Return the first paths that together have no more than ``MOST_NODES`` nodes."""
    nodes: set[int] = set()
    shown: list[Path] = []
    for path in paths:
        nodes.update(path.nodes)
        if shown and len(nodes) > MOST_NODES:
            break
        shown.append(path)
    return shown


def _columns(paths: Sequence[Path], tail: int) -> list[list[int]]:
    """Return the nodes by the most hops that any path takes to them; the tail alone comes last."""
    column: dict[int, int] = {}
    for path in paths:
        for hop, node in enumerate(path.nodes):
            column[node] = max(hop, column.get(node, 0))
    del column[tail]
    taken = sorted(set(column.values()))
    return [[node for node in column if column[node] == each] for each in taken] + [[tail]]


def _positions(hops: Iterable[Hop], columns: list[list[int]]) -> Positions:
    """Place each column's nodes in the order of the mean height of their neighbours."""
    neighbours = defaultdict(list)
    for hop in hops:
        neighbours[hop.source].append(hop.destination)
        neighbours[hop.destination].append(hop.source)
    found: dict[int, tuple[float, float]] = {}

    def height(node: int) -> float:
        placed = [found[each][1] for each in neighbours[node] if each in found]
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
    axes: Axes, explanation: Explanation, names: KnowledgeGraph, positions: Positions
) -> dict[int, Patch | None]:
    """Write the names; return the box of each."""
    colours = {explanation.query.head: _HEAD, explanation.tail: _TAIL}
    boxes: dict[int, Patch | None] = {}
    for node, (x, y) in positions.items():
        text = axes.text(
            x,
            y,
            _shortened(names.entities[node]),
            ha="center",
            va="center",
            size=9,
            parse_math=False,
            zorder=3,
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": colours.get(node, _BETWEEN),
                "edgecolor": "0.3",
            },
        )
        boxes[node] = text.get_bbox_patch()
    return boxes


def _draw_edges(
    axes: Axes,
    hops: Iterable[Hop],
    names: KnowledgeGraph,
    positions: Positions,
    boxes: Mapping[int, Patch | None],
) -> None:
    most = max(abs(hop.importance) for hop in hops)
    taken = list(positions.values())
    leaving = Counter(hop.source for hop in hops)
    arriving = Counter(hop.destination for hop in hops)
    between = defaultdict(list)
    for hop in hops:
        between[hop.source, hop.destination].append(hop)
    for (source, destination), parallel in between.items():
        start, end = positions[source], positions[destination]
        both_ways = (destination, source) in between
        for place, hop in enumerate(parallel):
            bend = _BEND * (place - (len(parallel) - 1) / 2 + both_ways)
            if abs(end[0] - start[0]) != 1:
                bend += _BEND  # within a column, or past one
            share = abs(hop.importance) / most
            # a label stands where fewer edges meet
            first = 0.6 if leaving[hop.source] > arriving[hop.destination] else 0.42
            places = [_on_curve(start, end, bend, along) for along in (first, *_ALONG)]
            place_of_label = next((each for each in places if _free(each, taken)), places[0])
            taken.append(place_of_label)
            arrow = FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=10 + 4 * share,
                connectionstyle=f"arc3,rad={bend}",
                linewidth=0.6 + (_WIDEST - 0.6) * share,
                linestyle="-" if hop.importance > 0 else "--",
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
                _label(hop, names),
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


def _on_curve(
    start: tuple[float, float], end: tuple[float, float], bend: float, share: float
) -> tuple[float, float]:
    """Return a point of the curve that arc3 draws, were a unit as wide as it is high.

    That is a parabola whose middle is off the chord by half of ``bend`` times its length, in
    inches, hence the two scales.
    """
    width, height = (end[0] - start[0]) * _COLUMN, (end[1] - start[1]) * _ROW
    off = 2 * share * (1 - share) * bend
    x = start[0] + share * (end[0] - start[0]) + off * height / _COLUMN
    y = start[1] + share * (end[1] - start[1]) - off * width / _ROW
    return x, y


def _label(hop: Hop, names: KnowledgeGraph) -> str:
    relation = _shortened(names.relations[hop.relation])
    inverse = " (inverse)" if hop.inverse else ""
    return f"{relation}{inverse}\n{steps_text(hop.duration)}"


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


def _height(columns: list[list[int]]) -> int:
    return max(map(len, columns))


def _figure(columns: list[list[int]]) -> Figure:
    height = _ROW * (max(_height(columns), 2) + 0.2)
    figure = Figure(figsize=(_COLUMN * len(columns), height + _TITLE), dpi=DOTS)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=height / (height + _TITLE))
    return figure


def _save(figure: Figure, file: File) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")
    figure.savefig(temporary, format="png", dpi=DOTS)
    temporary.replace(file)
