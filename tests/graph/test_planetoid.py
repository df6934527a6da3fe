import pickle
from collections import OrderedDict, defaultdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro.errors import DataError
from neuro.graph.planetoid import read_neighbours

GRAPH = {0: [1, 300], 1: [0], **{node: [] for node in range(2, 300)}, 300: [0, 299, 1]}


def written(tmp_path, content: bytes):
    path = tmp_path / "ind.small.graph"
    path.write_bytes(content)
    return path


def listed(entries) -> defaultdict:
    graph = defaultdict(list)
    graph.update(entries)
    return graph


# From protocol 4 on, names are written in another way; Planetoid's files have protocol 2.
@pytest.mark.parametrize(
    ("made", "protocol"), [(dict, 2), (dict, 3), (dict, 4), (dict, 5), (listed, 2), (listed, 3)]
)
def test_a_pickled_dictionary_of_lists_is_read(tmp_path, made, protocol):
    assert read_neighbours(written(tmp_path, pickle.dumps(made(GRAPH), protocol))) == GRAPH


class Harmful:
    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Harmful(), "GLOBAL '__builtin__ print'"),
        ({0: [Harmful()]}, "GLOBAL"),
        (OrderedDict({0: [0]}), "GLOBAL 'collections OrderedDict'"),
        (defaultdict(dict), "GLOBAL '__builtin__ dict'"),
        ({0: ["one"]}, "BINUNICODE 'one'"),
        ({0: [0.5]}, "BINFLOAT"),
        ({0: [[0]]}, "a neighbour is no number"),
        ({0: 0}, "not a node and its neighbours"),
        ({}, "no node"),
        ([1, 2], "one dictionary"),
        ({1: [1]}, "not numbered from 0 to 0"),
        ({0: [1]}, "node 0 has the neighbour 1, but there are 1 nodes"),
        ({0: [-1]}, "has the neighbour -1"),
    ],
)
def test_anything_else_is_refused_and_nothing_is_called(tmp_path, capsys, value, reason):
    with pytest.raises(DataError, match=reason):
        read_neighbours(written(tmp_path, pickle.dumps(value, 2)))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"not a pickle", "not a Planetoid graph"),
        (b"\x80\x02}K\x00]sK\x01.", "one dictionary"),
        (b"\x80\x02}K\x00]s.more", "follows its end"),
        (b"\x80\x02c__builtin__\nlist\nK\x00\x85R.", "calls something"),
        (b"\x80\x02ccollections\ndefaultdict\nccollections\ndefaultdict\n\x85R.", "of lists"),
        (b"\x80\x02}(K\x00u.", "not a node and its neighbours"),
        (b"\x80\x02}K\x00s.", "what is no dictionary"),
        (b"\x80\x02]K\x00e.", "mark is missing"),
        (b"\x80\x02K\x00K\x01a.", "what is no list"),
        (b"\x80\x02a.", "value is missing"),
    ],
)
def test_malformed_bytes_are_refused(tmp_path, content, reason):
    with pytest.raises(DataError, match=reason):
        read_neighbours(written(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"Cannot read .*: No such file"):
        read_neighbours(tmp_path / "none.graph")


SMALL = pickle.dumps(listed({0: [1, 2], 1: [0], 2: [0, 2]}), 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.booleans())
def test_damaged_bytes_give_a_graph_or_a_clear_error(tmp_path, place, byte, cut):
    damaged = SMALL[:place] if cut else SMALL[:place] + bytes([byte]) + SMALL[place + 1 :]
    try:
        graph = read_neighbours(written(tmp_path, damaged))
    except DataError:
        return
    assert not cut
    assert all(0 <= other < len(graph) for others in graph.values() for other in others)
