"""Placements: counted by hand, recounted synapse by synapse, and refused where they must be."""

import itertools
import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from neuro.cli.output import print_table
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile, Quantity, load_profile
from neuro.hardware.constraints import ConstraintError
from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Cuba,
    Dense,
    IntegerGraph,
    Population,
    Source,
    Sparse,
)
from neuro.hardware.place import core_of_neurons, place

LOIHI1, LOIHI2 = load_profile("loihi1"), load_profile("loihi2")
RESOURCES = (
    "neurons",
    "input_axons",
    "output_axons",
    "synapse_bits",
    "delay_slots",
    "decay_groups",
    "threshold_groups",
    "synapse_formats",
)


def chip(kind="published", **limits):
    """Return Loihi 1 with other numbers; tiles of one core each."""
    changed = {name: Quantity(value, "", kind, "a test", 2020) for name, value in limits.items()}
    tile = {"cores_per_tile": Quantity(1, "", "published", "a test", 2020)}
    default = {} if "cores" in limits else {"cores": Quantity(32, "", "published", "a test", 2020)}
    return HardwareProfile("small", {}, {**LOIHI1.limits, **tile, **default, **changed})


def integers(values):
    return np.asarray(values, np.int32)


def population(name, shape, **registers):
    given = {"du": 4095, "dv": 100, "vth": 50, **registers}
    neuron = Cuba(**{key: integers(value) for key, value in given.items()})
    return Population(name=name, shape=shape, neuron=neuron)


def mixed(shape, seed=0):
    """Return even weights of both signs that need all 8 bits."""
    weight = np.random.default_rng(seed).integers(-128, 128, shape) * 2
    weight.reshape(-1)[:2] = (2, -2)[: weight.size]
    return integers(weight)


def dense(source, target, shape, **options):
    return Connection(source=source, target=target, synapses=Dense(weight=mixed(shape)), **options)


def network(sources, populations, connections):
    return IntegerGraph(
        sources={name: Source(name=name, shape=shape) for name, shape in sources.items()},
        populations={each.name: each for each in populations},
        connections=tuple(connections),
        output=populations[-1].name,
        steps=5,
    )


def two_layers(hidden=300, **options):
    return network(
        {"in": (100,)},
        [population("hidden", (hidden,), **options), population("out", (10,))],
        [dense("in", "hidden", (hidden, 100)), dense("hidden", "out", (10, hidden))],
    )


# Every synapse, one by one


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


# By hand


def test_two_layers_counted_by_hand():
    placement = place(two_layers(), LOIHI1)
    # 310 neurons fit one core, but a list of 300 synapses is 4 blocks of 64 * 8 + 10 bits = 9
    # words, and one of 44 * 8 + 10 = 6 words; a list of 10 is 2 words.
    (core,) = placement.cores
    assert core.load.used() == {
        "neurons": 310,
        "input_axons": 100 + 300,
        "output_axons": 300,
        "synapse_bits": 100 * (4 * 9 + 6) * 64 + 300 * 2 * 64,
        "delay_slots": 310,
        "decay_groups": 1,
        "threshold_groups": 1,
        "synapse_formats": 1,
    }
    assert core.load.synapses == 100 * 300 + 300 * 10
    assert (placement.chips, placement.tiles, placement.packing) == (1, 1, "whole")
    assert placement.unpublished == ()
    assert core.fullest == ("neurons", 310 / 1024)
    check(two_layers(), placement)


def test_two_layers_split_over_cores_counted_by_hand():
    graph = two_layers()
    # 300 neurons at 128 a core: 128, 128, and 44 that fit beside none but still beside the output
    placement = place(graph, chip(neurons_per_core=128))
    counted = [
        ([("hidden", 0, 128)], 128, 100, 128, 100 * 2 * 9 * 64),
        ([("hidden", 128, 256)], 128, 100, 128, 100 * 2 * 9 * 64),
        ([("out", 0, 10), ("hidden", 256, 300)], 54, 400, 44, 100 * 6 * 64 + 300 * 2 * 64),
    ]
    assert [
        (
            [(each.population, each.start, each.stop) for each in core.blocks],
            core.load.neurons,
            core.load.input_axons,
            core.load.output_axons,
            core.load.synapse_bits,
        )
        for core in placement.cores
    ] == counted
    assert [core.tile for core in placement.cores] == [(0, 0), (1, 0), (2, 0)]
    (route,) = placement.routes
    # 128 axons cross two tiles, 128 one, 44 none
    assert (route.source, route.target, route.axons) == ("hidden", "out", 300)
    assert route.mean_hops == (128 * 2 + 128) / 300
    assert route.most_hops == 2
    check(graph, placement)


def test_a_list_of_200_dense_targets_takes_1856_bits():
    graph = network({"in": (7,)}, [population("out", (200,))], [dense("in", "out", (200, 7))])
    (core,) = place(graph, LOIHI1).cores
    assert core.load.synapse_bits == 7 * 1856


def test_a_layer_over_the_memory_of_a_core_is_split():
    # 2 000 lists of 64 synapses take 9 words each: 1 152 000 bits, of 1 048 576
    graph = network({"in": (2000,)}, [population("out", (64,))], [dense("in", "out", (64, 2000))])
    placement = place(graph, LOIHI1)
    assert len(placement.cores) == 2
    assert placement.cores[0].fullest[0] == "synapse_bits"
    check(graph, placement)


def test_spikes_become_messages_counted_by_hand():
    graph = two_layers()
    spikes = {"hidden": np.arange(300)}
    (route,) = place(graph, chip(neurons_per_core=128), spikes=spikes).routes
    first, second, third = (np.arange(300)[each].sum() for each in np.split(range(300), [128, 256]))
    sent = route.messages
    assert sent.sent == first + second + third
    assert sent.hops_east_west == 2 * first + second
    assert (sent.hops_north_south, sent.across_chips) == (0, 0)
    assert sent.within_tile == third


def test_tiles_run_row_by_row_and_chip_by_chip():
    graph = network({"in": (1,)}, [population("out", (20,))], [dense("in", "out", (20, 1))])
    small = chip(neurons_per_core=1, cores=8, cores_per_tile=2, tile_columns=2, tile_rows=2)
    placement = place(graph, small, chips=3)
    tiles = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1), (4, 0), (5, 0)]
    assert [core.tile for core in placement.cores] == [tile for tile in tiles for _ in range(2)]
    assert [core.chip for core in placement.cores] == [0] * 8 + [1] * 8 + [2] * 4
    assert placement.chips == 3


def test_routes_between_chips_are_counted():
    graph = network(
        {"in": (1,)},
        [population("a", (2,)), population("b", (1,))],
        [dense("in", "a", (2, 1)), dense("a", "b", (1, 2))],
    )
    one = chip(neurons_per_core=1, cores=2, tile_columns=1, tile_rows=2)
    (route,) = place(graph, one, chips=2, spikes={"a": np.array([3, 5])}).routes
    # a at (0, 0) and (0, 1), b at (1, 0)
    assert (route.axons, route.mean_hops, route.most_hops, route.across_chips) == (2, 1.5, 2, 2)
    assert route.messages.hops_east_west == 8
    assert route.messages.hops_north_south == 5
    assert route.messages.across_chips == 8


# Against every synapse


def conv_network(groups=1, stride=1, padding=1, channels=4, outputs=6, side=5):
    weight = mixed((outputs, channels // groups, 3, 3))
    synapses = Convolution(
        weight=weight, stride=(stride, stride), padding=(padding, padding), groups=groups
    )
    size = (side + 2 * padding - 3) // stride + 1
    return network(
        {"in": (channels, side, side)},
        [
            population("maps", (outputs, size, size), vth=np.arange(outputs)[:, None, None]),
            population("out", (3,)),
        ],
        [
            Connection(source="in", target="maps", synapses=synapses),
            dense("maps", "out", (3, outputs * size * size)),
        ],
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"groups": 2},
        {"groups": 4, "outputs": 8},
        {"stride": 2},
        {"padding": 0},
        {"padding": 2, "stride": 3, "side": 7},
        {"groups": 3, "channels": 3, "outputs": 3},
    ],
)
@pytest.mark.parametrize("neurons", [7, 13, 1000])
def test_convolutions_agree_with_their_synapses(options, neurons):
    graph = conv_network(**options)
    check(graph, place(graph, chip(neurons_per_core=neurons), chips=None))


def test_a_convolution_may_be_dilated_and_oblong():
    synapses = Convolution(
        weight=mixed((2, 3, 2, 3)), stride=(2, 1), padding=(1, 2), dilation=(2, 1)
    )
    maps = population("maps", (2, 3, 6))
    graph = network(
        {"in": (3, 5, 4)}, [maps], [Connection(source="in", target="maps", synapses=synapses)]
    )
    check(graph, place(graph, chip(neurons_per_core=5), chips=None))


def test_maps_are_cut_between_positions():
    graph = conv_network()
    placement = place(graph, chip(neurons_per_core=6), chips=None)
    assert placement.by_position == ("maps",)
    # all 6 channels of a position to a core: the corner reads 2 x 2 positions of 4 channels
    assert placement.cores[0].load.input_axons == 16
    assert (core_of_neurons(graph, placement)["maps"][:, 0, 0] == 0).all()


def test_recurrent_output_axons_are_settled():
    # 12 neurons that reach all 12: cut in n blocks, each takes n output axons
    graph = network(
        {"in": (2,)},
        [population("loop", (12,))],
        [dense("in", "loop", (12, 2)), dense("loop", "loop", (12, 12))],
    )
    placement = place(graph, chip(output_axons_per_core=12, neurons_per_core=5))
    assert [core.load.output_axons for core in placement.cores] == [
        core.load.neurons * len(placement.cores) for core in placement.cores
    ]
    check(graph, placement)
    with pytest.raises(ConstraintError, match="output axons per core"):
        place(graph, chip(output_axons_per_core=11, neurons_per_core=5))


def test_populations_that_drive_each_other_are_settled():
    graph = network(
        {"in": (3,)},
        [population("a", (9,)), population("b", (7,))],
        [
            dense("in", "a", (9, 3)),
            dense("a", "b", (7, 9)),
            dense("b", "a", (9, 7)),
            dense("b", "b", (7, 7)),
        ],
    )
    placement = place(graph, chip(neurons_per_core=3, output_axons_per_core=21))
    check(graph, placement)


def test_an_index_reaches_over_the_neurons_before_in_the_core():
    # 8 neurons that all read one source, after 60 or 50 others: 6 bits tell 64 neurons apart
    synapses = Sparse(starts=integers(np.arange(9)), sources=integers(np.zeros(8)), weight=mixed(8))
    for others, synapse_bits in ((50, 8 + 6), (60, 8 + 7)):
        graph = network(
            {"in": (1,)},
            [population("indexed", (8,)), population("others", (others,))],
            [
                Connection(source="in", target="indexed", synapses=synapses),
                dense("in", "others", (others, 1)),
            ],
        )
        placement = place(graph, LOIHI1)
        (core,) = placement.cores
        assert [block.population for block in core.blocks] == ["others", "indexed"]
        whole_words = -(-(8 * synapse_bits + 10) // 64)
        assert core.load.synapse_bits == (whole_words + -(-(others * 8 + 10) // 64)) * 64
        check(graph, placement)


def test_delays_are_counted_by_neuron_and_by_bit():
    delay = np.zeros((10, 4), np.int32)
    delay[7, 2] = 5
    graph = network(
        {"in": (4,)},
        [population("out", (10,))],
        [dense("in", "out", (10, 4), delay=delay)],
    )
    placement = place(graph, chip(delay_slots_per_core=18))
    # neurons 0-6 need a slot each; 7 needs 6 and would ask 6 of all beside it
    assert [core.load.neurons for core in placement.cores] == [7, 3]
    assert [core.load.delay_slots for core in placement.cores] == [7, 18]
    check(graph, placement)


def test_groups_end_a_block():
    graph = network(
        {"in": (1,)},
        [population("out", (12,), vth=np.arange(12) // 2, du=np.arange(12) // 6)],
        [dense("in", "out", (12, 1))],
    )
    placement = place(graph, chip(threshold_groups_per_core=2))
    assert [core.load.neurons for core in placement.cores] == [4, 4, 4]
    check(graph, placement)
    placement = place(graph, chip(decay_groups_per_core=1))
    assert [core.load.neurons for core in placement.cores] == [6, 6]
    check(graph, placement)


def sparse(draw, sources, targets):
    rows = [draw(st.lists(st.integers(0, sources - 1), max_size=4)) for _ in range(targets)]
    ends = np.cumsum([0, *map(len, rows)])
    flat = integers(list(itertools.chain(*rows)))
    return Sparse(starts=integers(ends), sources=flat, weight=mixed(len(flat)))


@st.composite
def networks(draw):
    """Draw small networks of every kind of connection, forwards, back and onto themselves."""
    shapes = {"in": (2, 4, 4)}
    populations, connections = [], []
    for number in range(draw(st.integers(1, 3))):
        name, source = f"p{number}", draw(st.sampled_from(list(shapes)))
        registers = {}
        kind = draw(st.sampled_from(["dense", "sparse", "convolution"]))
        if kind == "convolution" and len(shapes[source]) == 3:
            channels, *sides = shapes[source]
            groups = channels if draw(st.booleans()) else 1
            outputs = groups * draw(st.integers(1, 2))
            stride = draw(st.integers(1, 2))
            shape = (outputs, *((side - 1) // stride + 1 for side in sides))
            synapses = Convolution(
                weight=mixed((outputs, channels // groups, 3, 3)),
                stride=(stride, stride),
                padding=(1, 1),
                groups=groups,
            )
        else:
            targets = draw(st.integers(1, 9))
            shape, sources = (targets,), int(np.prod(shapes[source]))
            if kind == "sparse":
                synapses = sparse(draw, sources, targets)
            else:
                synapses = Dense(weight=mixed((targets, sources)))
        if draw(st.booleans()):
            registers["vth"] = np.arange(int(np.prod(shape))).reshape(shape) % 3
        delay = integers(draw(st.integers(0, 3)))
        if not isinstance(synapses, Convolution) and synapses.weight.size and draw(st.booleans()):
            delay = integers(np.arange(synapses.weight.size) % 4).reshape(synapses.weight.shape)
        shapes[name] = shape
        populations.append(population(name, shape, **registers))
        connections.append(
            Connection(
                source=source,
                target=name,
                synapses=synapses,
                delay=delay,
                weight_exponent=draw(st.integers(0, 1)),
            )
        )
    names = list(shapes)[1:]
    for _ in range(draw(st.integers(0, 2))):
        source, target = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        sources, targets = (int(np.prod(shapes[each])) for each in (source, target))
        connections.append(
            Connection(source=source, target=target, synapses=sparse(draw, sources, targets))
        )
    return network({"in": (2, 4, 4)}, populations, connections)


@st.composite
def chips(draw):
    """Draw chips small enough that networks are cut, each by another resource."""
    small = {
        "neurons_per_core": (2, 12),
        "input_axons_per_core": (40, 90),
        "output_axons_per_core": (12, 60),
        "synapse_bits_per_core": (40 * 64, 120 * 64),
        "delay_slots_per_core": (4, 40),
        "threshold_groups_per_core": (1, 3),
        "synapse_formats_per_core": (3, 5),
    }
    return {name: draw(st.integers(*ends)) for name, ends in small.items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(networks(), chips(), st.booleans())
def test_every_neuron_is_placed_once_and_no_core_is_overfull(graph, limits, tightly):
    try:
        placement = place(graph, chip(**limits), chips=None)
        if tightly:
            # as many chips as one core fewer than that took
            few = {"cores": max(1, len(placement.cores) - 1), "tile_columns": 1000}
            placement = place(graph, chip(**limits, **few))
    except ConstraintError as error:
        for each in error.violations:
            assert each.found > each.limit.value
        assume(False)
    check(graph, placement)
    assert placement.packing == "whole" or len(placement.cores) <= few["cores"]
    assert (
        placement.to_dict()
        == place(
            graph, chip(**limits, **(few if tightly else {})), chips=1 if tightly else None
        ).to_dict()
    )


# Refusals


@pytest.mark.parametrize(
    ("limit", "value", "found"),
    [
        ("input_axons_per_core", 99, 100),
        ("synapse_bits_per_core", 6399, 6400),
        ("delay_slots_per_core", 1, 4),
    ],
)
def test_a_neuron_that_no_core_holds_is_refused(limit, value, found):
    graph = network(
        {"in": (100,)},
        [population("out", (10,))],
        [dense("in", "out", (10, 100), delay=integers(3))],
    )
    with pytest.raises(ConstraintError) as error:
        place(graph, chip(**{limit: value}))
    (violation,) = error.value.violations
    assert violation.constraint == limit
    assert violation.where == "neuron 0 of population 'out'"
    assert (violation.found, violation.limit.value) == (found, value)
    assert f"needs {found:,}, the limit is {value:,}" in str(error.value)
    assert "(a test, 2020)" in str(error.value)


def test_a_neuron_that_reaches_too_many_cores_is_refused():
    graph = network(
        {"in": (1,)},
        [population("a", (1,)), population("b", (10,))],
        [dense("in", "a", (1, 1)), dense("a", "b", (10, 1))],
    )
    with pytest.raises(ConstraintError, match="output axons per core: neuron 0 of population 'a'"):
        place(graph, chip(neurons_per_core=2, output_axons_per_core=4))


def test_a_network_over_its_chips_is_refused_with_the_number_it_needs():
    graph = network({"in": (1,)}, [population("out", (20,))], [dense("in", "out", (20, 1))])
    small = chip(neurons_per_core=2, cores=4)
    with pytest.raises(ConstraintError) as error:
        place(graph, small)
    assert "cores: the network, on 1 chip, needs 10, the limit is 4" in str(error.value)
    assert "Allow 3 chips" in str(error.value)
    assert place(graph, small, chips=3).chips == 3
    assert place(graph, small, chips=None).chips == 3


def test_room_in_open_cores_is_filled_when_cores_run_short():
    # Layers of 6 at 10 neurons a core: alone 1 core each, filled up 10 neurons in each
    layers = [population(f"p{number}", (6,)) for number in range(5)]
    graph = network({"in": (1,)}, layers, [dense("in", each.name, (6, 1)) for each in layers])
    whole = place(graph, chip(neurons_per_core=10))
    assert (len(whole.cores), whole.packing) == (5, "whole")
    tight = place(graph, chip(neurons_per_core=10, cores=3))
    assert (len(tight.cores), tight.packing) == (3, "tight")
    assert [core.load.neurons for core in tight.cores] == [10, 10, 10]
    check(graph, tight)


def test_registers_are_checked_before_anything_is_placed():
    with pytest.raises(ConstraintError, match="vth maximum: population 'hidden' needs 200,000"):
        place(two_layers(vth=200_000), LOIHI1)


@pytest.mark.parametrize("chips_allowed", [0, -1])
def test_no_chips_are_refused(chips_allowed):
    with pytest.raises(UsageError, match="needs at least one"):
        place(two_layers(), LOIHI1, chips=chips_allowed)


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        ({"hidden": np.zeros(299)}, r"of shape \(299,\), expected \(300,\)"),
        ({"hiden": np.zeros(300)}, "'hiden', which is no population"),
        ({}, "spikes of 'hidden' are missing"),
    ],
)
def test_spikes_must_fit(spikes, message):
    with pytest.raises(UsageError, match=message):
        place(two_layers(), LOIHI1, spikes=spikes)


def test_a_chip_with_too_few_tiles_is_refused():
    with pytest.raises(UsageError, match="2 x 4 tiles of 1 cores hold fewer than 32 cores"):
        place(two_layers(), chip(tile_columns=2))


# What is not public


def test_a_placement_on_loihi2_says_what_is_not_public():
    placement = place(two_layers(), LOIHI2)
    assert placement.unpublished == (
        "tile_columns",
        "tile_rows",
        "cores_per_tile",
        "input_axons_per_core",
        "output_axons_per_core",
        "synapse_bits_per_core",
    )
    assert placement.to_dict()["unpublished_limits"] == list(placement.unpublished)
    assert dict(placement.summary())["not published"] == ", ".join(placement.unpublished)
    assert "convolution_copies_per_core" in place(conv_network(), LOIHI2).unpublished


def test_a_limit_that_is_not_public_can_be_waived():
    graph = network({"in": (5000,)}, [population("out", (10,))], [dense("in", "out", (10, 5000))])
    with pytest.raises(ConstraintError, match=r"not a published number.*Or waive the limit"):
        place(graph, LOIHI2)
    placement = place(graph, LOIHI2, waived=["input_axons_per_core"])
    assert placement.waived == ("input_axons_per_core",)
    assert "input_axons" not in placement.limits
    assert "input_axons_per_core" not in placement.unpublished
    assert placement.cores[0].load.input_axons == 5000


@pytest.mark.parametrize("name", ["neurons_per_core", "tile_columns"])
def test_nothing_else_can_be_waived(name):
    with pytest.raises(UsageError, match=f"{name} of loihi2 cannot be waived"):
        place(two_layers(), LOIHI2, waived=[name])
    with pytest.raises(UsageError, match="no limit"):
        place(two_layers(), LOIHI2, waived=["neurons"])


def test_kernels_are_stored_once_where_the_chip_keeps_them():
    graph = conv_network()
    (kept,) = place(graph, LOIHI2).cores
    # 4 channels, a list of 6 x 9 mixed weights of 8 bits each: 54 * 8 + 10 bits are 7 words;
    # and 150 lists of 3 for the output, one word each
    assert kept.load.synapse_bits == 4 * 7 * 64 + 150 * 64
    assert kept.load.synapses == 6 * 4 * 13 * 13 + 3 * 150
    (unrolled,) = place(graph, LOIHI2, waived=["convolution_copies_per_core"]).cores
    assert unrolled.load.used() == place(graph, chip()).cores[0].load.used() | {
        "synapse_bits": unrolled.load.synapse_bits
    }
    assert unrolled.load.synapse_bits > kept.load.synapse_bits
    check(graph, place(graph, LOIHI2, waived=["convolution_copies_per_core"]))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("neurons", [3, 5, 11])
def test_kept_kernels_are_those_of_the_channels_in_the_core(groups, neurons):
    graph = conv_network(groups=groups, outputs=8)
    keeps = chip(neurons_per_core=neurons, convolution_copies_per_core=1)
    for core in place(graph, keeps, chips=None).cores:
        for block in core.blocks:
            if block.population != "maps" or len(core.blocks) > 1:
                continue
            channels = {place % 8 for place in range(block.start, block.stop)}
            lists = [
                sum(channel // (8 // groups) == group for channel in channels) * 9
                for group in range(groups)
                for _ in range(4 // groups)
            ]
            bits = sum(
                -(-(min(64, length - start) * 8 + 10) // 64) * 64
                for length in lists
                for start in range(0, length, 64)
            )
            assert core.load.synapse_bits == bits


# Output


def test_a_placement_is_json_and_a_table(capsys):
    placement = place(two_layers(), chip(neurons_per_core=128))
    record = json.loads(json.dumps(placement.to_dict()))
    assert record["cores_used"] == 3
    assert record["cores"][2]["blocks"] == [["out", 0, 10], ["hidden", 256, 300]]
    assert record["cores"][0]["utilisation"]["neurons"] == 1
    assert record["routes"][0]["messages"] is None
    assert set(record["utilisation"]) == set(RESOURCES)
    print_table(*placement.table())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["cores", "0-1", "2"]
    assert "128 (100%)" in lines[1]
    assert "out + hidden" in lines[2]
    assert dict(placement.summary())["cores"] == "3 of 32"


def test_unrolled_synapses_are_never_enumerated():
    # 19 million synapses: enumerated one by one this test would run into its time limit
    weight = mixed((128, 128, 3, 3))
    maps = population("maps", (128, 12, 12))
    graph = network(
        {"in": (128, 12, 12)},
        [maps],
        [
            Connection(
                source="in", target="maps", synapses=Convolution(weight=weight, padding=(1, 1))
            )
        ],
    )
    placement = place(graph, LOIHI1, chips=None)
    assert sum(core.load.synapses for core in placement.cores) == 128 * 128 * 34 * 34
    assert all(core.utilisation["synapse_bits"] <= 1 for core in placement.cores)
