"""Placements counted by hand, and how they are told."""

import json

import numpy as np

from neuro.cli.output import print_table
from neuro.hardware.integer_graph import Connection, Convolution, Sparse
from neuro.hardware.place import place
from tests.hardware.placements import (
    LOIHI1,
    chip,
    dense,
    integers,
    mixed,
    network,
    population,
    two_layers,
)
from tests.hardware.recount import check


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
