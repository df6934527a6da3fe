"""Figures of a run: learning curve, firing rates, and the spikes of one test sample."""

from pathlib import Path
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from neuro.data import Split
from neuro.layers import Network
from neuro.training.batches import Feeder
from neuro.training.seeds import generator_for

RASTER_NEURONS = 200
"""At most so many neurons of a layer are drawn: the first ones."""


def draw_learning_curve(
    records: list[dict[str, Any]], file: Path, quantities: tuple[str, str] = ("loss", "accuracy")
) -> None:
    """Draw two quantities of training and validation over epochs from ``metrics.jsonl``."""
    figure = _figure(9, 3.6)
    for axes, quantity in zip(figure.subplots(1, 2), quantities, strict=True):
        for split, colour in (("train", "tab:blue"), ("validation", "tab:orange")):
            key = f"{split}_{quantity}"
            measured = [record for record in records if key in record]
            if measured:
                epochs = [record["epoch"] for record in measured]
                values = [record[key] for record in measured]
                axes.plot(epochs, values, color=colour, marker=".", label=split)
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity if quantity in ("loss", "accuracy") else quantity.upper())
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, file)


def draw_firing_rates(records: list[dict[str, Any]], file: Path) -> None:
    """Draw each layer's firing rate over epochs."""
    figure = _figure(6, 3.6)
    axes = figure.subplots()
    for layer in records[-1]["firing_rates"]:
        rates = [record["firing_rates"][layer] for record in records]
        axes.plot([record["epoch"] for record in records], rates, marker=".", label=layer)
    axes.set_xlabel("epoch")
    axes.set_ylabel("spikes per neuron and step")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, file)


def draw_raster(
    network: Network, feeder: Feeder, split: Split, file: Path, *, sample: int = 0, seed: int = 0
) -> None:
    """Draw when each neuron of each layer fires for one test sample."""
    spikes, logits = record_spikes(network, feeder, split, sample, seed)
    figure = _figure(7, 1.2 + 1.9 * len(spikes))
    panels = figure.subplots(len(spikes), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (layer, record) in zip(panels, spikes.items(), strict=True):
        drawn = record[:, :RASTER_NEURONS]
        times, neurons = drawn.nonzero(as_tuple=True)
        axes.scatter(times + 1, neurons, s=4, marker="|", color="black")
        axes.set_ylim(-1, drawn.shape[1])
        axes.set_ylabel("neuron")
        axes.set_title(f"{layer}: {float(record.mean()):.3f} spikes per neuron and step", size=9)
    panels[-1].set_xlabel("time step")
    panels[-1].set_xlim(0.5, len(record) + 0.5)
    names = feeder.dataset.class_names
    guess, truth = names[int(logits.argmax())], names[int(split.targets[sample])]
    figure.suptitle(f"test sample {sample}: {truth}, read out as {guess}", size=10)
    _save(figure, file)


def record_spikes(
    network: Network, feeder: Feeder, split: Split, sample: int, seed: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the spikes of one sample by layer, ``(T, neurons)`` of 0 and 1, and its logits."""
    recorded: dict[str, list[Tensor]] = {name: [] for name in network.neuron_nodes}

    def recorder(name: str) -> Any:
        def record(module: Any, arguments: Any, output: Any) -> None:
            recorded[name].append((output[0][0] != 0).flatten().float().cpu())

        return record

    hooks = [
        layer.register_forward_hook(recorder(name)) for name, layer in network.neuron_nodes.items()
    ]
    try:
        inputs, _ = feeder.take(split, torch.tensor([sample]))
        generator = generator_for(seed, "raster", sample, device=feeder.device)
        readout = network.run(feeder.over_time(inputs, generator))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.stack(steps) for name, steps in recorded.items()}, readout.logits[0].cpu()


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.partial")
    figure.savefig(temporary, format="png", dpi=120)
    temporary.replace(file)
