import pytest
import torch

from neuro.errors import DataError
from neuro.graph import link_prediction_task, load_links

RING = [(node, (node + 1) % 100) for node in range(100)]
NAMES = [str(node) for node in range(100)]


def links_of(task) -> list[list[int]]:
    return torch.cat([task.train, task.valid, task.test]).tolist()


def test_links_are_split_85_5_10_and_each_is_somewhere():
    task = link_prediction_task("ring", NAMES, RING)
    assert (task.kind, task.undirected) == ("link_prediction", True)
    assert (len(task.train), len(task.valid), len(task.test)) == (85, 5, 10)
    assert sorted(links_of(task)) == [[head, 0, tail] for head, tail in RING]
    assert task.test_graph is task.graph
    assert torch.equal(task.valid_known, task.valid)
    assert torch.equal(task.test_known, task.test)
    assert task.notes == ()


def test_the_split_is_that_of_torch_with_its_seed():
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0)).tolist()
    task = link_prediction_task("ring", NAMES, RING)
    assert task.test[:, 0].tolist() == order[90:]
    other = link_prediction_task("ring", NAMES, RING, seed=1)
    assert task.test.tolist() != other.test.tolist()


def test_a_link_listed_both_ways_counts_once_and_loops_do_not():
    both = [link for head, tail in RING for link in ((head, tail), (tail, head), (head, tail))]
    task = link_prediction_task("ring", NAMES, [*both, (7, 7)])
    assert sorted(links_of(task)) == [[head, 0, tail] for head, tail in RING]
    assert task.notes == (
        "Links listed again, in either direction, and dropped: 200.",
        "Links from a node to itself, left out: 1.",
    )


def test_a_text_file_of_links_is_read(tmp_path):
    path = tmp_path / "ring.txt"
    path.write_text("".join(f"n{head}\tn{tail}\n" for head, tail in RING), encoding="utf-8")
    task = load_links(path)
    assert task.name == "ring"
    assert task.graph.entities == tuple(sorted(f"n{node}" for node in range(100)))
    names = task.graph.entities
    assert {(names[head], names[tail]) for head, _, tail in links_of(task)} == {
        (f"n{head}", f"n{tail}") for head, tail in RING
    }


def test_files_of_another_form_and_too_few_links_are_refused(tmp_path):
    path = tmp_path / "links.txt"
    path.write_text("a\tb\na\tr\tb\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2: expected node<TAB>node, .* \(3 fields"):
        load_links(path)
    path.write_text("a\tb\nb\ta\na\ta\n", encoding="utf-8")
    with pytest.raises(DataError, match="links: only 1 different links"):
        load_links(path)
