from dataclasses import replace

import pytest
import torch

from neuro.errors import DataError
from neuro.graph import KnowledgeGraph, inductive_task, load_folder, transductive_task


def lines(*texts: str) -> list[tuple[str, str, str]]:
    return [tuple(text.split()) for text in texts]


TRAIN = lines("a r b", "b s c", "c r a")


def named(graph: KnowledgeGraph, triples: torch.Tensor) -> list[str]:
    return [
        f"{graph.entities[head]} {graph.relations[relation]} {graph.entities[tail]}"
        for head, relation, tail in triples.tolist()
    ]


def write(folder, **splits: str):
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in splits.items():
        content = "".join("\t".join(line.split()) + "\n" for line in text.split(";"))
        (folder / f"{split}.txt").write_text(content, encoding="utf-8")
    return folder


def test_a_transductive_task_has_one_graph_and_one_filter():
    task = transductive_task("t", TRAIN, lines("a s b"), lines("a r c"))
    assert named(task.graph, task.train) == ["a r b", "b s c", "c r a"]
    assert named(task.graph, task.valid) == ["a s b"]
    assert named(task.graph, task.test) == ["a r c"]
    assert task.test_graph is task.graph
    everything = {"a r b", "b s c", "c r a", "a s b", "a r c"}
    assert set(named(task.graph, task.valid_known)) == everything
    assert set(named(task.graph, task.test_known)) == everything
    assert task.notes == ()
    assert not task.undirected


def test_entities_of_held_out_triples_become_nodes_without_edges():
    task = transductive_task("t", TRAIN, lines("a s new"), lines("a r c", "other r new"))
    assert task.graph.entities == ("a", "b", "c", "new", "other")
    assert len(task.train) == 3
    assert named(task.graph, task.test) == ["a r c", "other r new"]
    assert task.notes == (
        "Entities in validation or test triples only: 2 (new, other), in 2 triples; they are "
        "nodes without edges.",
    )


def test_held_out_triples_of_an_unknown_relation_are_left_out_and_counted():
    task = transductive_task("t", TRAIN, lines("a r a", "a x b"), lines("b r c", "a y b", "d x c"))
    assert task.graph.relations == ("r", "s")
    assert task.graph.entities == ("a", "b", "c")
    assert named(task.graph, task.test) == ["b r c"]
    assert task.notes == (
        "Left out of the validation triples: 1, whose relations the training triples lack (x).",
        "Left out of the test triples: 2, whose relations the training triples lack (x, y).",
    )


def test_held_out_triples_that_are_also_facts_are_told_and_kept():
    task = transductive_task("t", [*TRAIN, TRAIN[0]], lines("a r b"), lines("b s c", "c s a"))
    assert named(task.graph, task.test) == ["b s c", "c s a"]
    assert task.notes == (
        "Repeated triples dropped: 1.",
        "Held-out triples that are also facts of the graph: 2.",
    )


def test_nothing_left_to_test_is_an_error():
    with pytest.raises(DataError, match="t: no test triple is left"):
        transductive_task("t", TRAIN, lines("a r a"), lines("a x b"))
    with pytest.raises(DataError, match="no triple"):
        transductive_task("t", [], lines("a r a"), lines("a x b"))


def test_an_inductive_task_tests_on_another_graph_with_the_relations_of_the_first():
    task = inductive_task(
        "t",
        TRAIN,
        lines("a s b"),
        lines("x s y", "y r z", "z q x"),
        lines("x r z", "z r lone", "x q y"),
    )
    assert task.graph.entities == ("a", "b", "c")
    assert task.test_graph.entities == ("lone", "x", "y", "z")
    assert task.graph.relations == task.test_graph.relations == ("r", "s")
    assert named(task.test_graph, task.test_graph.facts) == ["x s y", "y r z"]
    assert named(task.test_graph, task.test) == ["x r z", "z r lone"]
    assert torch.equal(task.valid_known, task.graph.facts)
    assert torch.equal(task.test_known, task.test_graph.facts)
    assert task.notes == (
        "Left out of the test graph triples: 1, whose relations the training triples lack (q).",
        "Left out of the test triples: 1, whose relations the training triples lack (q).",
        "Entities in test triples only: 1 (lone), in 1 triples; they are nodes without edges.",
    )
    other = inductive_task("t", TRAIN, lines("a s b"), lines("x s y", "b r x"), lines("x r y"))
    assert other.notes == ("Entities in both graphs: 1 (b).",)


def test_a_folder_of_three_files_is_transductive(tmp_path):
    folder = write(tmp_path / "own", train="a r b;b r c", valid="a r c", test="c r a")
    task = load_folder(folder)
    assert (task.name, task.kind) == ("own", "transductive")
    assert named(task.graph, task.test) == ["c r a"]
    assert load_folder(folder, name="other").name == "other"


def test_a_folder_with_a_pair_is_inductive_from_outside_and_from_inside(tmp_path):
    write(tmp_path / "X", train="a r b;b r c", valid="a r c")
    write(tmp_path / "X_ind", train="x r y;y r z", test="x r z")
    for folder in (tmp_path, tmp_path / "X"):
        task = load_folder(folder)
        assert (task.name, task.kind) == ("X", "inductive")
        assert task.test_graph.entities == ("x", "y", "z")


def test_folders_that_lack_something_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none is not a folder. A task is a folder X with train"):
        load_folder(tmp_path / "none")
    with pytest.raises(DataError, match=r"lacks train.txt. A task is"):
        load_folder(tmp_path)
    folder = write(tmp_path / "own", train="a r b")
    with pytest.raises(DataError, match=r"own lacks valid.txt, test.txt. A task is"):
        load_folder(folder)
    for name in ("A", "A_ind", "B", "B_ind"):
        write(tmp_path / "pairs" / name, train="a r b", valid="a r b", test="a r b")
    with pytest.raises(DataError, match=r"several tasks \(A, B\); name one"):
        load_folder(tmp_path / "pairs")


def test_triples_that_do_not_fit_their_graph_are_refused():
    task = transductive_task("t", TRAIN, lines("a s b"), lines("a r c"))
    with pytest.raises(DataError, match=r"t: test: tails span 3..3"):
        replace(task, test=torch.tensor([[0, 0, 3]]))
    other = KnowledgeGraph.of(lines("a r b"))
    with pytest.raises(DataError, match="same relations"):
        replace(task, test_graph=other)
