"""Run a float graph, one sample at a time, by its equations."""

import numpy as np

from neuro.hardware.float_graph import FloatGraph


def run_float(graph: FloatGraph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return ``[T, *shape]`` of every population: spikes, or potentials of one that never fires."""
    steps = len(next(iter(inputs.values())))
    sent = {name: list(given.astype(np.float64)) for name, given in inputs.items()}
    state = dict.fromkeys(graph.populations, (0.0, 0.0))
    for step in range(steps):
        for name, population in graph.populations.items():
            total = np.zeros(population.shape) + population.bias
            for connection in graph.inputs_of(name):
                if step >= connection.delay:
                    arrived = connection.synapses.apply(
                        sent[connection.source][step - connection.delay]
                    )
                    total += arrived.reshape(population.shape)
            neuron = population.neuron
            current = neuron.current_decay * state[name][0] + total
            potential = neuron.voltage_decay * state[name][1] + current
            answer = potential
            if neuron.threshold is not None:
                over = potential - neuron.threshold
                answer = (over >= 0 if neuron.inclusive else over > 0).astype(np.float64)
                lost = neuron.threshold if neuron.soft_reset else potential
                potential = potential - answer * lost
            state[name] = (current, potential)
            sent.setdefault(name, []).append(answer)
    return {name: np.array(sent[name]) for name in graph.populations}
