import networkx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import DataError, NeuroError
from neuro.graph import KnowledgeGraph, read_triples


def write(tmp_path, content: bytes):
    path = tmp_path / "facts.txt"
    path.write_bytes(content)
    return path


def test_names_are_numbered_in_sorted_order_and_facts_keep_theirs(family):
    assert family.entities == ("anna", "ben", "carl", "dora", "erik")
    assert family.relations == ("married", "parent")
    assert family.facts.tolist() == [[2, 1, 3], [0, 1, 2], [1, 1, 2], [0, 0, 1]]
    assert family.facts.dtype == torch.int64
    assert family.named()[0] == ("carl", "parent", "dora")


def test_duplicates_are_dropped_and_counted_and_self_loops_counted():
    graph = KnowledgeGraph.of([("a", "r", "b"), ("a", "r", "b"), ("b", "r", "b"), ("a", "r", "b")])
    assert graph.named() == [("a", "r", "b"), ("b", "r", "b")]
    assert (graph.duplicates, graph.self_loops) == (2, 1)
    assert graph.notes == (
        "Repeated triples dropped: 2.",
        "Facts from an entity to itself: 1.",
    )


def test_a_file_with_a_byte_order_mark_and_crlf_reads_like_one_without(tmp_path):
    plain = write(tmp_path, "é\tis in\tb c\n\nb c\tis in\tz".encode())
    expected = read_triples(plain)
    assert expected == [("é", "is in", "b c"), ("b c", "is in", "z")]
    marked = write(tmp_path, b"\xef\xbb\xbf" + "é\tis in\tb c\r\n\r\nb c\tis in\tz\r\n".encode())
    assert read_triples(marked) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tr\tb\na\tr\n", r"facts.txt, line 2: expected head<TAB>relation<TAB>tail, "
         r"got 'a\\tr' \(2 fields separated by tabs, not 3\)"),
        (b"a r b\n", r"line 1: .*1 field separated"),
        (b"a\tr\tb\tc\n", r"line 1: .*4 fields"),
        (b"\n\na\t \tb\n", r"line 3: .*a field is blank"),
        (b"", r"facts.txt is empty: expected lines of head<TAB>relation<TAB>tail"),
        (b"\r\n\n", r"is empty"),
        (b"a\tr\tb\nc\tr\xff\tb\n", r"line 2: byte 0xff is not UTF-8"),
        ("a\tr\tb\n".encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_triples(write(tmp_path, content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"Cannot read .*none.txt: No such file"):
        KnowledgeGraph.read(tmp_path / "none.txt")
    with pytest.raises(DataError, match="Cannot read"):
        KnowledgeGraph.read(tmp_path)


def test_an_empty_graph_is_refused():
    with pytest.raises(DataError, match="no triple"):
        KnowledgeGraph.of([], entities=["a"])
    with pytest.raises(DataError, match="no triple"):
        KnowledgeGraph.from_networkx(networkx.MultiDiGraph())


def test_names_are_looked_up_and_the_nearest_is_named(family):
    assert (family.entity("carl"), family.relation("married")) == (2, 0)
    with pytest.raises(NeuroError, match=r'no entity "karl".* Did you mean "carl"'):
        family.entity("karl")
    with pytest.raises(NeuroError, match=r'no relation "parents".* Did you mean "parent"'):
        family.relation("parents")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (torch.tensor([[0, 0, 2]]), "tails span 2..2, but there are 2"),
        (torch.tensor([[0, 1, 1]]), "relations span"),
        (torch.tensor([[-1, 0, 1]]), "heads span -1"),
        (torch.tensor([[0, 0, 1], [0, 0, 1]]), "repeat a triple"),
        (torch.tensor([[0, 0]]), "must be int64"),
        (torch.tensor([[0.0, 0.0, 1.0]]), "must be int64"),
    ],
)
def test_facts_that_do_not_fit_the_names_are_refused(facts, message):
    with pytest.raises(DataError, match=message):
        KnowledgeGraph(entities=("a", "b"), relations=("r",), facts=facts)


def test_a_name_that_occurs_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        KnowledgeGraph(entities=("a", "a"), relations=("r",), facts=torch.tensor([[0, 0, 1]]))


def test_networkx_relations_are_attributes_or_keys():
    graph = networkx.MultiDiGraph()
    graph.add_node("alone")
    graph.add_edge("a", "b", key="likes")
    graph.add_edge("a", "b", relation="knows")
    graph.add_edge("b", 3, key="likes", relation="eats")
    read = KnowledgeGraph.from_networkx(graph)
    assert read.entities == ("3", "a", "alone", "b")
    assert sorted(read.named()) == [("a", "knows", "b"), ("a", "likes", "b"), ("b", "eats", "3")]


def test_a_simple_directed_networkx_graph_may_name_relations_by_attribute():
    read = KnowledgeGraph.from_networkx(networkx.DiGraph([("a", "b", {"relation": "knows"})]))
    assert read.named() == [("a", "knows", "b")]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (networkx.MultiDiGraph([("a", "b")]), "'a' -> 'b' .* names no relation"),
        (networkx.DiGraph([("a", "b")]), "names no relation"),
        (networkx.MultiGraph([("a", "b", "r")]), "undirected"),
        (networkx.MultiDiGraph([(1, "1", "r")]), "one name"),
    ],
)
def test_networkx_graphs_of_another_form_are_refused(graph, message):
    with pytest.raises(DataError, match=message):
        KnowledgeGraph.from_networkx(graph)


names = st.sampled_from("abcdef")


@given(st.lists(st.tuples(names, st.sampled_from("rs"), names), min_size=1), st.sets(names))
def test_networkx_and_back_changes_nothing(triples, further):
    graph = KnowledgeGraph.of(triples, entities=further)
    assert len(graph.facts) + graph.duplicates == len(triples)
    back = KnowledgeGraph.from_networkx(graph.to_networkx())
    assert (back.entities, back.relations) == (graph.entities, graph.relations)
    assert sorted(back.named()) == sorted(graph.named()) == sorted(set(triples))
