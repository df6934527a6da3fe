"""Perturbations of neurons: drawn, measured, scaled and added."""

from collections.abc import Mapping
from math import ceil

from neuro.energy.training.batch import Batch
from neuro.energy.training.parts import GAUSSIAN


def count_noise(batch: Batch, uses: Mapping[str, int], *, holds: bool) -> None:
    """Count the noise of all layers.

    A device that holds noise writes it down once and reads it at every use; one that does not draws
    it at every use, and also to measure its length, on a sphere.

    Args:
        batch: of a rule that perturbs.
        uses: by layer, how often its noise is used for credit or feedback.
        holds: whether the device keeps the noise of a step.
    """
    options, tally = batch.options, batch.phases["noise"]
    steps = batch.timesteps
    fresh = ceil(steps / 2) if options.antithetic else steps
    sphere = options.noise == "sphere"
    for name, layer in batch.network.neuron_nodes.items():
        numbers = batch.samples * batch.neurons(name)
        draws = fresh if holds else steps + uses[name] + (fresh if sphere else 0)
        if options.noise != "rademacher":
            tally.add(name, numbers * draws, GAUSSIAN)
        if holds:
            tally.add(name, numbers * fresh, state_writes=1)
        if sphere:
            tally.add(name, numbers * fresh, macs=1, state_reads=int(holds))
            tally.add(name, batch.samples * fresh, functions=2, multiplications=1)
            tally.add(name, batch.samples * steps, multiplications=1)  # alpha times the radius
        added = numbers * steps
        tally.add(name, added, multiplications=1, additions=1, activation_reads=1)
        if options.noise_at == "post" and layer.scale != 1:
            tally.add(name, added, multiplications=1)  # no longer a selection
