"""Scales chosen by what the integers do: each population is run on samples at many scales.

Populations are taken in order, and each hears what those before it, quantised, really send. Of the
scales at which no register overflows, with room to spare, the one is kept at which most spikes are
where the float network has them (for an integrator: at which potentials differ least).
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError
from neuro.hardware.fixed_point import Extremes, run
from neuro.hardware.float_graph import FloatGraph, Reals
from neuro.hardware.integer_graph import STATE_SHIFT, WIDTH, IntegerGraph, Source
from neuro.hardware.messages import Messages, ways_to_speak
from neuro.hardware.registers import (
    LARGEST_THRESHOLD,
    Layer,
    exact_fullness,
    exponent_range,
    quantise_layer,
)
from neuro.hardware.targets import Target

FULLNESS = (2.0, 1.41, 1.0, 0.71, 0.5, 0.35, 0.25, 0.18, 0.125, 1 / 16, 1 / 32, 1 / 64, 1 / 128)
CLIPPED = (5.66, 4.0, 2.83)
"""Tried before, where weights have fewer bits than eight: few levels are worth many clipped."""
ROOM = 1.25
"""By how much other samples may exceed what was observed before a register overflows."""
PATIENCE = 3
"""After so many scales in a row that do worse, smaller ones are not tried; nor coarser messages."""
_FIRST = 8
_CHUNK = 1 << 25
"""Neurons times samples times steps that are recorded at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """Samples, and what the float network makes of them.

    Args:
        inputs: ``[T, B, *shape]`` of every source.
        answers: of every population spikes ``[T, B, *shape]``, 0 or 1; of an integrator its
            potential after the last step, ``[B, *shape]``.
    """

    inputs: Mapping[str, Reals]
    answers: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen:
    """A population as it was chosen.

    Args:
        layer: in registers, one synapse away from what drives it.
        speech: how the sources that it is the first to hear speak.
        disagreement: share of spikes and silences that differ from the float network's; of an
            integrator the mean square of what its potentials differ by, over their variance.
        spikes: ``[T, B, *shape]``, what it does with the samples; empty for an integrator.
        extremes: what its registers had to hold.
        tried: scales that were.
    """

    layer: Layer
    speech: Mapping[str, Messages]
    disagreement: float
    spikes: NDArray[np.int8]
    extremes: Extremes
    tried: int


class _Outcome(NamedTuple):
    disagreement: float
    spikes: NDArray[np.int8]
    extremes: Extremes


def choose(
    graph: FloatGraph,
    name: str,
    target: Target,
    calibration: Calibration,
    sent: Mapping[str, NDArray[np.int8]],
    speech: Mapping[str, Messages],
) -> Chosen:
    """Choose the scale of a population.

    Args:
        graph: where it is.
        name: its name.
        target: the chip.
        calibration: samples.
        sent: spikes of the populations before it.
        speech: how sources speak that were heard before; the others are free.

    Raises:
        UsageError: nothing fits the registers.
    """
    search = _Search(graph, name, target, calibration)
    coarser = 0
    for spoken in _ways(graph, name, target, calibration, speech):
        signals = _signals(graph, name, calibration, sent, spoken)
        found = search.over_scales(signals, spoken)
        coarser = 0 if found else coarser + 1
        if search.best is not None and coarser == PATIENCE - 1:
            break
    best, tried = search.best, search.tried
    if best is None:
        raise UsageError(
            f"{name}: at no scale do its weights, threshold, bias and sums fit their registers "
            f"({tried} were run). Train with smaller weights or biases, or fewer time steps."
        )
    return Chosen(**{**vars(best), "tried": tried})


class _Search:
    """The best of what was tried for a population."""

    def __init__(
        self, graph: FloatGraph, name: str, target: Target, calibration: Calibration
    ) -> None:
        self.graph, self.name, self.target = graph, name, target
        self.answers = calibration.answers[name]
        self.best: Chosen | None = None
        self.tried = 0

    def over_scales(
        self, signals: Mapping[str, NDArray[np.integer]], speech: Mapping[str, Messages]
    ) -> bool:
        """Try scales from large to small; tell whether one was better than all before."""
        neuron = self.graph.populations[self.name].neuron
        fires_at = neuron.inclusive and neuron.threshold is not None
        finest = exponent_range(self.graph, self.name, speech)
        bits = self.target.weight_bits
        exact = exact_fullness(self.graph, self.name, speech, bits)
        fullnesses = FULLNESS if bits == 8 else (*CLIPPED, *FULLNESS)
        improved = False
        for exponents in sorted({0, finest}):
            worse = 0
            for fullness in fullnesses if exact is None else (exact, *fullnesses):
                found = self.attempt(signals, speech, fullness, exponents, ties=False)
                if fires_at and (found == "better" or fullness == exact):
                    ties = self.attempt(signals, speech, fullness, exponents, ties=True)
                    found = "better" if ties == "better" else found
                improved = improved or found == "better"
                worse = 0 if found == "better" else worse + (found == "worse")
                if worse == PATIENCE:
                    break
        return improved

    def attempt(
        self,
        signals: Mapping[str, NDArray[np.integer]],
        speech: Mapping[str, Messages],
        fullness: float,
        exponents: int,
        ties: bool,
    ) -> Literal["better", "worse", "does not fit"]:
        """Run the population at one scale and keep it if it is the best so far."""
        layer = quantise_layer(
            self.graph,
            self.name,
            speech=speech,
            fullness=fullness,
            bias_exponent=self.target.bias_exponent,
            exponents=exponents,
            ties=ties,
            weight_bits=self.target.weight_bits,
        )
        if layer is None:
            return "does not fit"
        self.tried += 1
        outcome = _try(layer, signals, speech, self.target, self.answers)
        if outcome is None:
            return "does not fit"
        if self.best is not None and outcome.disagreement >= self.best.disagreement:
            return "worse"
        self.best = Chosen(layer=layer, speech=speech, tried=0, **outcome._asdict())
        return "better"


def _ways(
    graph: FloatGraph,
    name: str,
    target: Target,
    calibration: Calibration,
    speech: Mapping[str, Messages],
) -> Iterator[dict[str, Messages]]:
    """Yield ways in which the sources of a population may speak."""
    connections = graph.inputs_of(name)
    sources = {each.source for each in connections} & graph.sources.keys()
    known = {source: speech[source] for source in sources if source in speech}
    free = sorted(sources - known.keys())
    if not free:
        yield known
        return
    if len(free) > 1:
        raise UsageError(f"{name} hears the sources {free}; one source a population is supported.")
    (source,) = free
    readers = [each for each in graph.connections if each.source == source]
    silent = all(
        each.delay == 0 and not np.any(graph.populations[each.target].neuron.current_decay)
        for each in readers
    )
    for way in ways_to_speak(
        graph.sources[source], calibration.inputs[source], target.message_bits, target.name
    ):
        if silent or not np.any(way.offset):
            yield {**known, source: way}


def _signals(
    graph: FloatGraph,
    name: str,
    calibration: Calibration,
    sent: Mapping[str, NDArray[np.int8]],
    speech: Mapping[str, Messages],
) -> dict[str, NDArray[np.integer]]:
    signals: dict[str, NDArray[np.integer]] = {}
    for each in graph.inputs_of(name):
        if each.source in graph.sources:
            signals[each.source] = speech[each.source].encode(calibration.inputs[each.source])
        else:
            signals[each.source] = sent[each.source]
    return signals


def _try(
    layer: Layer,
    signals: Mapping[str, NDArray[np.integer]],
    speech: Mapping[str, Messages],
    target: Target,
    answers: NDArray[Any],
) -> _Outcome | None:
    """Run a population alone; None where a register would overflow."""
    name, shape = layer.population.name, layer.population.shape
    steps, batch = next(iter(signals.values())).shape[:2]
    integrates = answers.ndim == len(shape) + 1
    alone = IntegerGraph(
        sources={
            origin: Source(
                name=origin,
                shape=signal.shape[2:],
                message_bits=speech[origin].bits if origin in speech else 0,
            )
            for origin, signal in signals.items()
        },
        populations={name: layer.population},
        connections=layer.connections,
        output=name,
        steps=steps + 1,
    )
    size = int(np.prod(shape, dtype=np.int64))
    chunk = max(_FIRST, _CHUNK // (size * steps))
    # the first few show most overflows
    edges = [0, *range(min(_FIRST, batch), batch, chunk), batch]
    spikes = np.zeros((0 if integrates else steps, batch, *shape), np.int8)
    error = 0.0
    extremes = Extremes(0, 0, 0, 0, 0, 0)
    for first, last in itertools.pairwise(edges):
        part = slice(first, last)
        inputs = {origin: signal[:, part] for origin, signal in signals.items()}
        recording = run(
            alone,
            inputs,
            record=() if integrates else (name,),
            record_states=False,
            accumulator_bits=target.accumulator_bits,
        )
        extremes = extremes.merged(recording.extremes[name])
        if overflows(extremes, target, integrates):
            return None
        if integrates:
            made = recording.final_v[name] / (layer.scale * (1 << STATE_SHIFT))
            error += float(((made - answers[part]) ** 2).sum())
        else:
            spikes[:, part] = recording.spikes[name][1:]
            error += float(np.count_nonzero(spikes[:, part] != answers[:, part]))
    disagreement = error / max(answers.size * (float(answers.var()) if integrates else 1.0), 1e-300)
    return _Outcome(disagreement, spikes, extremes)


def overflows(extremes: Extremes, target: Target, integrates: bool) -> bool:
    """Tell whether registers overflowed, or nearly did."""
    if extremes.wrapped_inputs or extremes.wrapped_u or extremes.clipped_v:
        return True
    highest = LARGEST_THRESHOLD << STATE_SHIFT if integrates else 1 << (WIDTH - 1)
    bits = target.accumulator_bits
    return (
        extremes.largest_u * ROOM >= 1 << (WIDTH - 1)
        or extremes.largest_v * ROOM >= highest
        or (bits is not None and extremes.largest_input * ROOM >= 1 << bits)
    )
