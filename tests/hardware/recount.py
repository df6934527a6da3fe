"""What placements take of cores, found again by going through all synapses one by one."""

from collections import defaultdict

import numpy as np

from neuro.hardware.integer_graph import Convolution, Dense, Sparse
from neuro.hardware.place import core_of_neurons


def every_synapse(graph, connection):
    """Yield (source neuron, target neuron, delay) of each synapse, both in C order."""
    synapses, delay = connection.synapses, connection.delay
    sent, heard = graph.shape(connection.source), graph.shape(connection.target)
    if isinstance(synapses, Dense):
        for target, source in np.ndindex(synapses.weight.shape):
            yield source, target, int(delay[target, source] if delay.ndim else delay)
    elif isinstance(synapses, Sparse):
        for target in range(len(synapses.starts) - 1):
            for number in range(synapses.starts[target], synapses.starts[target + 1]):
                wait = int(delay[number] if delay.ndim else delay)
                yield int(synapses.sources[number]), target, wait
    else:
        outputs, channels, *kernel = synapses.weight.shape
        per_group = outputs // synapses.groups
        for out, row, column, within, down, right in np.ndindex(*heard, channels, *kernel):
            y = row * synapses.stride[0] - synapses.padding[0] + down * synapses.dilation[0]
            x = column * synapses.stride[1] - synapses.padding[1] + right * synapses.dilation[1]
            if 0 <= y < sent[1] and 0 <= x < sent[2]:
                channel = out // per_group * channels + within
                source = np.ravel_multi_index((channel, y, x), sent)
                target = np.ravel_multi_index((out, row, column), heard)
                yield int(source), int(target), int(delay)


def cut_order(graph, name):
    """Return the neurons of a population in the order in which it is cut."""
    shape = graph.shape(name)
    if any(isinstance(each.synapses, Convolution) for each in graph.inputs_of(name)):
        channels, height, width = shape
        return [
            int(np.ravel_multi_index((channel, row, column), shape))
            for row in range(height)
            for column in range(width)
            for channel in range(channels)
        ]
    return list(range(int(np.prod(shape))))


def weight_bits(weight):
    both = bool(weight.size) and weight.min() < 0 < weight.max()
    for bits in (1, 2, 3, 4, 5, 6, 8):
        if not weight.size or not np.any(weight % 2 ** (8 - bits + both)):
            return bits
    raise AssertionError("odd weights of both signs")


def recount(graph, placement):
    """Return each core's resources, found by going through all synapses."""
    held_by, before = {}, {}
    for core in placement.cores:
        neurons = 0
        for block in core.blocks:
            order = cut_order(graph, block.population)
            for neuron in order[block.start : block.stop]:
                assert (block.population, neuron) not in held_by, "placed twice"
                held_by[block.population, neuron] = (core.number, block)
            neurons += block.stop - block.start
            before[core.number, block] = neurons
    lists = defaultdict(int)
    axons_out, delays, formats = defaultdict(set), defaultdict(int), defaultdict(set)
    for number, connection in enumerate(graph.connections):
        for source, target, delay in every_synapse(graph, connection):
            core, block = held_by[connection.target, target]
            lists[number, source, core, block] += 1
            delays[core] = max(delays[core], delay)
            if connection.source in graph.populations:
                sender, _ = held_by[connection.source, source]
                axons_out[sender].add((number, source, core, block))
    stored = [
        (
            weight_bits(each.synapses.weight),
            next(b for b in range(10) if 2**b > each.delay.max(initial=0)),
        )
        for each in graph.connections
    ]
    axons_in, bits = defaultdict(int), defaultdict(int)
    for (number, _, core, block), synapses in lists.items():
        connection = graph.connections[number]
        weight, (value, wait), index = connection.synapses.weight, stored[number], 0
        if not isinstance(connection.synapses, Dense):
            index = next(b for b in range(6, 40) if 2**b >= before[core, block])
        axons_in[core] += 1
        for start in range(0, synapses, 64):
            entry = value + wait + index
            bits[core] += -(-(min(64, synapses - start) * entry + 10) // 64) * 64
        signs = "mixed" if weight.min() < 0 < weight.max() else weight.min() < 0
        formats[core].add((value, wait, index, signs, connection.weight_exponent))
    found = {}
    for core in placement.cores:
        mine = [key for key, (held, _) in held_by.items() if held == core.number]
        registers = defaultdict(set)
        for name, neuron in mine:
            values = graph.populations[name].neuron
            for register in ("du", "dv", "vth"):
                value = np.broadcast_to(getattr(values, register), graph.shape(name))
                registers[name, neuron].add((register, int(value.reshape(-1)[neuron])))
        decays = {frozenset(each for each in r if each[0] != "vth") for r in registers.values()}
        thresholds = {each for r in registers.values() for each in r if each[0] == "vth"}
        found[core.number] = {
            "neurons": len(mine),
            "input_axons": axons_in[core.number],
            "output_axons": len(axons_out[core.number]),
            "synapse_bits": bits[core.number],
            "delay_slots": len(mine) * (delays[core.number] + 1),
            "decay_groups": len(decays),
            "threshold_groups": len(thresholds),
            "synapse_formats": len(formats[core.number]),
        }
    everyone = {
        (name, neuron)
        for name in graph.populations
        for neuron in range(int(np.prod(graph.shape(name))))
    }
    assert held_by.keys() == everyone
    return found


def check(graph, placement):
    """Hold a placement to what going through all synapses finds."""
    found = recount(graph, placement)
    for core in placement.cores:
        assert core.load.used() == found[core.number]
        for resource, limit in placement.limits.items():
            assert found[core.number][resource] <= limit
            assert core.utilisation[resource] == found[core.number][resource] / limit
    cores = core_of_neurons(graph, placement)
    for core in placement.cores:
        held = sum(int((cores[name] == core.number).sum()) for name in graph.populations)
        assert held == core.load.neurons
