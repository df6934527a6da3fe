"""Pictures for README and docs, drawn from result files alone.

``python -m benchmarks.figures`` draws all pictures whose result files are there.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from benchmarks.command import main, say
from benchmarks.graph_grids import LEARNING_CURVE
from benchmarks.records import IMAGES, RESULTS, read_result

# Okabe & Ito's colours, told apart by people with any common colour blindness; each rule
# and method has a marker of its own besides.
STYLE: dict[str, dict[str, str]] = {
    "ottt": {"color": "#000000", "marker": "o"},
    "opzo": {"color": "#D55E00", "marker": "s"},
    "opzo+ll": {"color": "#CC79A7", "marker": "P"},
    "opzo-unshared": {"color": "#999999", "marker": "h"},
    "dfa": {"color": "#0072B2", "marker": "^"},
    "dkp": {"color": "#009E73", "marker": "v"},
    "zo": {"color": "#E69F00", "marker": "D"},
    "bptt": {"color": "#56B4E9", "marker": "X"},
    "bptt+recompute": {"color": "#F0E442", "marker": "d"},
    "grsnn": {"color": "#882255", "marker": ">"},
    "nbfnet": {"color": "#332288", "marker": "<"},
}
LABELS = {
    "ottt": "BP (OTTT)",
    "opzo": "OPZO",
    "opzo+ll": "OPZO + local",
    "opzo-unshared": "OPZO, unshared",
    "dfa": "DFA",
    "dkp": "DKP",
    "zo": "zeroth order",
    "bptt": "BPTT",
    "bptt+recompute": "BPTT, recomputing",
    "grsnn": "GRSNN",
    "nbfnet": "NBFNet",
}
DPI = 150


def figures(*, results: Path = RESULTS, images: Path = IMAGES) -> None:
    """Draw every picture whose result file is there; some kinds of result are a table alone.

    Parameters
    ----------
    results
        Folder of the result files.
    images
        Folder of the pictures.
    """
    drawers: dict[str, Callable[[dict[str, Any], Path], None]] = {
        "accuracy": draw_learning_curves,
        "reasoning": draw_reasoning_curves,
        "gradients": draw_gradients,
        "layers": draw_layers,
        "memory": draw_memory,
        "speed": draw_speed,
        "synapses": draw_synapses,
    }
    for file in sorted(results.glob("*.json")):
        kind = _kind(file)
        if kind not in drawers or (kind == "reasoning" and file.stem != LEARNING_CURVE):
            continue
        target = images / f"{file.stem}.png"
        drawers[kind](read_result(file, kind), target)
        say(f"{target}")


def draw_memory(record: dict[str, Any], file: Path) -> None:
    """Draw peak memory over T, both logarithmic."""
    figure = _figure(6, 3.6)
    axes = figure.subplots()
    rules = list(dict.fromkeys(row["rule"] for row in record["rows"]))
    for rule in rules:
        rows = [row for row in record["rows"] if row["rule"] == rule]
        steps = [row["timesteps"] for row in rows]
        axes.plot(steps, [row["update_mb"] for row in rows], **_line(rule))
    ticks = sorted({row["timesteps"] for row in record["rows"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    _finish(axes, "time steps T", "peak memory of one update (MiB)")
    axes.set_title(f"{record['network']}, batch of {record['batch_size']}")
    axes.legend(frameon=False)
    save(figure, file)


def draw_speed(record: dict[str, Any], file: Path) -> None:
    """Draw time per training sample as bars, with the 20th and 80th percentiles."""
    workloads = record["workloads"]
    columns = min(len(workloads), 3)
    lines = -(-len(workloads) // columns)
    figure = _figure(4.0 * columns + 0.6, 2.6 * lines + 0.6)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in panels[len(workloads) :]:
        axes.set_visible(False)
    for axes, each in zip(panels, workloads.values(), strict=False):
        names = sorted(each["contenders"], key=lambda name: each["contenders"][name]["median_us"])
        for row, name in enumerate(names):
            found = each["contenders"][name]
            middle = found["median_us"] / 1000
            spread = [[middle - found["p20_us"] / 1000], [found["p80_us"] / 1000 - middle]]
            colour = STYLE.get(name, {"color": "#999999"})["color"]
            axes.barh(row, middle, xerr=spread, color=colour, ecolor="#555555", capsize=3)
        axes.set_yticks(
            range(len(names)), [LABELS.get(name, "SpikingJelly OTTT") for name in names]
        )
        axes.invert_yaxis()
        axes.set_title(f"{each['title']}, T = {each['timesteps']}", size=8)
        _finish(axes, "ms per training sample", "")
    save(figure, file)


def draw_layers(record: dict[str, Any], file: Path) -> None:
    """Draw the time of a LIF layer as bars, ours in colour, and how ours scales if measured."""
    contenders, scaling = record["contenders"], record["scaling"]
    ours = STYLE["opzo"]["color"]
    figure = _figure(11.4 if scaling else 8.0, 0.28 * len(contenders) + 1.4)
    panels = figure.subplots(1, 3 if scaling else 2, squeeze=False)[0]
    for axes, quantity in zip(panels, ("forward", "forward_backward"), strict=False):
        names = sorted(contenders, key=lambda name: contenders[name][quantity]["median_ms"])
        for row, name in enumerate(names):
            found = contenders[name][quantity]
            middle = found["median_ms"]
            spread = [[middle - found["p20_ms"]], [found["p80_ms"] - middle]]
            colour = ours if name == "neuro" else "#999999"
            axes.barh(row, middle, xerr=spread, color=colour, ecolor="#555555", capsize=3)
        axes.set_yticks(range(len(names)), names, size=8)
        axes.invert_yaxis()
        axes.set_title(quantity.replace("_", " + "), size=9)
        _finish(axes, "ms", "")
    if scaling:
        _draw_scaling(panels[2], scaling)
    save(figure, file)


def _draw_scaling(axes: Axes, points: Sequence[dict[str, float]]) -> None:
    lengths = sorted({point["timesteps"] for point in points})
    for length, style in zip(lengths, STYLE.values(), strict=False):
        curve = [point for point in points if point["timesteps"] == length]
        times = [point["median_ns"] for point in curve]
        line: dict[str, Any] = {"label": f"T = {length}", "markersize": 4.5, **style}
        axes.plot([point["neurons"] for point in curve], times, **line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("neuro, forward + backward", size=9)
    _finish(axes, "neurons", "ns per neuron and time step")
    axes.legend(frameon=False, fontsize=8)


def draw_synapses(record: dict[str, Any], file: Path) -> None:
    """Draw the speed of events and of the choice over the dense product, by density.

    Solid: the choice. Dotted: events where the dense product is chosen.
    """
    groups = {
        "dense synapses": [each for each in record["layers"] if len(each["spikes"]) == 2],
        "convolutions": [each for each in record["layers"] if len(each["spikes"]) == 4],
    }
    figure = _figure(11, 4.2)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, layers) in zip(panels, groups.items(), strict=True):
        for layer, style in zip(layers, STYLE.values(), strict=False):
            points = layer["curves"][str(max(record["threads"]))]["points"]
            shares = [100 * each["density"] for each in points]
            for name, more in (
                ("neuro", {"label": layer["name"]}),
                ("events", {"linestyle": ":", "marker": "", "alpha": 0.7}),
            ):
                speeds = [each["dense_over"][name]["median"] for each in points]
                axes.plot(shares, speeds, **{"markersize": 4, **style, **more})
        axes.axhline(1, color="#777777", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, position: f"{value:g}")
        axes.set_title(title, size=9)
        label = "times as fast as the dense product" if axes is panels[0] else ""
        _finish(axes, "inputs that are not zero (%)", label)
        if layers:
            axes.legend(frameon=False, fontsize=7)
    save(figure, file)


def draw_learning_curves(record: dict[str, Any], file: Path) -> None:
    """Draw validation accuracy over epochs, mean over seeds with the range between them."""
    figure = _figure(6, 3.8)
    axes = figure.subplots()
    _draw_curves(axes, record, "validation_accuracy", "validation accuracy (%)", factor=100)
    axes.set_title(record["title"], size=10)
    axes.legend(frameon=False, ncols=2)
    save(figure, file)


def draw_reasoning_curves(record: dict[str, Any], file: Path) -> None:
    """Draw training loss and mean reciprocal rank in validation over epochs, likewise."""
    figure = _figure(9, 3.8)
    left, right = figure.subplots(1, 2)
    _draw_curves(left, record, "train_loss", "training loss")
    _draw_curves(right, record, "validation_mrr", "MRR in validation")
    figure.suptitle(record["title"], size=10)
    left.legend(frameon=False)
    save(figure, file)


def _draw_curves(
    axes: Axes, record: dict[str, Any], name: str, label: str, factor: float = 1.0
) -> None:
    for variant in record["rules"]:
        found = [
            cell["curves"]
            for cell in record["cells"]
            if cell["variant"] == variant and name in cell.get("curves", {})
        ]
        if not found:
            continue
        values = [
            [factor * value for value in each]
            for each in zip(*(curves[name] for curves in found), strict=True)
        ]
        epochs = found[0].get(f"{name}_epochs", range(1, len(values) + 1))
        style = {**_line(variant), "markevery": max(1, len(values) // 10)}
        axes.plot(epochs, [sum(each) / len(each) for each in values], **style)
        low, high = [min(each) for each in values], [max(each) for each in values]
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
    _finish(axes, "epoch", label)


def draw_gradients(record: dict[str, Any], file: Path) -> None:
    """Draw variance of the weight gradient (above) and cosine of the credit (below), by layer.

    Solid: all rules at the weights of the reference run. Dashed: each rule in its own run.
    """
    layers: list[dict[str, str]] = record["hidden_layers"]
    figure = _figure(max(2.6 * len(layers) + 1.2, 8.4), 5.6)
    panels = figure.subplots(2, len(layers), squeeze=False, sharex=True, sharey="row")
    own: dict[str, list[dict[str, Any]]] = record["own"]
    for column, layer in enumerate(layers):
        above, below = panels[0][column], panels[1][column]
        for rule in record["rules"]:
            curves = [(record["points"], {}), (own.get(rule, []), _DASHED)]
            for points, extra in curves:
                measured = [point for point in points if rule in point["rules"]]
                _draw_layer(above, below, rule, layer, measured, extra)
        above.set_yscale("log")
        above.set_xscale("log")
        above.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
        above.xaxis.set_minor_formatter(NullFormatter())
        above.set_title(f"layer {column + 1} ({layer['synapse']})", size=10)
        below.axhline(0, color="#bbbbbb", linewidth=0.8)
        below.set_ylim(-0.15, 1.05)
        _finish(above, "", "gradient variance per weight" if column == 0 else "")
        _finish(below, "training step", "cosine of credit to exact error" if column == 0 else "")
    handles, labels = panels[0][0].get_legend_handles_labels()
    if own:
        handles.append(Line2D([], [], color="#777777", linestyle="--"))
        labels.append("in a run of its own")
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    save(figure, file)


_DASHED = {"linestyle": "--", "alpha": 0.6, "label": None, "markersize": 3}


def _draw_layer(
    above: Axes,
    below: Axes,
    rule: str,
    layer: dict[str, str],
    points: Sequence[dict[str, Any]],
    extra: dict[str, Any],
) -> None:
    steps = [point["step"] for point in points]
    found = [point["rules"][rule] for point in points]
    variances = [each["weights"][layer["synapse"]]["variance"] for each in found]
    cosines = [each["credit_cosine"][layer["neurons"]] for each in found]
    if not extra:  # in its own run a rule meets other weights: variances would not compare
        above.plot(steps, [value or float("nan") for value in variances], **_line(rule))
    below.plot(steps, cosines, **{**_line(rule), **extra})


def save(figure: Figure, file: Path) -> None:
    """Write a PNG; the file's name never holds a part of one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")
    figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
    temporary.replace(file)


def _kind(file: Path) -> str:
    return str(json.loads(file.read_text("utf-8"))["kind"])


def _line(rule: str) -> dict[str, Any]:
    return {"label": LABELS[rule], "markersize": 4.5, "linewidth": 1.4, **STYLE[rule]}


def _finish(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


if __name__ == "__main__":
    main(figures)
