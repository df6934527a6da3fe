import shutil

import pytest
import torch

from neuro.errors import DataError, UsageError
from neuro.graph import GRAPHS, find_graph, load_graph, load_own_graph
from neuro.graph.datasets import GraphCounts

EMBEDDED = [name for name, entry in GRAPHS.items() if entry.embedded]
INDUCTIVE = [name for name, entry in GRAPHS.items() if entry.kind == "inductive"]
# Relations, entities and facts of both graphs, test triples: the published statistics.
PUBLISHED = {
    "fb237_v1": ((180, 1594, 4245, 489), (142, 1093, 1993, 205)),
    "fb237_v2": ((200, 2608, 9739, 1166), (172, 1660, 4145, 478)),
    "fb237_v3": ((215, 3668, 17986, 2194), (183, 2501, 7406, 865)),
    "fb237_v4": ((219, 4707, 27203, 3352), (200, 3051, 11714, 1424)),
    "wn18rr_v1": ((9, 2746, 5410, 630), (8, 922, 1618, 188)),
    "wn18rr_v2": ((10, 6954, 15262, 1838), (10, 2757, 4011, 441)),
    "wn18rr_v3": ((11, 12078, 25901, 3097), (11, 5084, 6327, 605)),
    "wn18rr_v4": ((9, 3861, 7940, 934), (9, 7084, 12334, 1429)),
}


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_graphs_load_without_a_folder(name, tmp_path):
    task = load_graph(name, tmp_path)
    assert (task.name, task.kind) == (name, "transductive")
    assert GraphCounts.of(task) == GRAPHS[name].counts


def test_the_embedded_are_the_small_ones():
    assert EMBEDDED == [
        "umls",
        "nations",
        "kinship",
        "countries-s1",
        "countries-s2",
        "countries-s3",
    ]


def test_the_licence_of_embedded_graphs_is_with_them():
    from importlib.resources import files

    text = (files("neuro.graph") / "data" / "LICENSE.ConvE.txt").read_text(encoding="utf-8")
    assert text.startswith("MIT License")


@pytest.mark.parametrize(
    ("name", "nodes", "in_train", "relations", "splits", "edges"),
    [
        ("fb15k-237", 14541, 14505, 237, (272115, 17535, 20466), 544230),
        ("wn18rr", 40943, 40559, 11, (86835, 3034, 3134), 173670),
    ],
)
def test_large_graphs_have_the_published_counts(
    test_data, name, nodes, in_train, relations, splits, edges
):
    task = load_graph(name, test_data)
    assert (len(task.graph.entities), len(task.graph.relations)) == (nodes, relations)
    assert (len(task.train), len(task.valid), len(task.test)) == splits
    assert len(task.train[:, [0, 2]].unique()) == in_train
    assert 2 * len(task.train) == edges
    assert any(f"only: {nodes - in_train:,} (" in note for note in task.notes)


@pytest.mark.parametrize("name", INDUCTIVE)
def test_inductive_graphs_have_the_published_counts(test_data, name):
    task = load_graph(name, test_data)
    first, second = PUBLISHED[name]
    assert first == (
        len(task.graph.relations), len(task.graph.entities), len(task.train), len(task.valid),
    )  # fmt: skip
    assert second == (
        len(task.test_graph.facts[:, 1].unique()),
        len(task.test_graph.entities),
        len(task.test_graph.facts),
        len(task.test),
    )
    # As published, WN18RR_v3 is not quite inductive.
    shared = {*task.graph.entities} & {*task.test_graph.entities}
    assert len(shared) == (8 if name == "wn18rr_v3" else 0)
    assert any("Entities in both graphs: 8" in note for note in task.notes) == bool(shared)


@pytest.mark.parametrize(
    ("name", "nodes", "links"), [("cora", 2708, 5278), ("citeseer", 3327, 4552)]
)
def test_planetoid_graphs_have_as_many_links_as_elsewhere(test_data, name, nodes, links):
    task = load_graph(name, test_data)
    assert len(task.graph.entities) == nodes
    assert len(task.train) + len(task.valid) + len(task.test) == links
    pairs = torch.cat([task.train, task.valid, task.test])[:, [0, 2]].sort(dim=1).values
    assert len(pairs.unique(dim=0)) == links


def test_a_set_is_found_in_every_layout(test_data, tmp_path):
    published = test_data / "kg-inductive"
    for place in ("", "kg-inductive"):
        folder = tmp_path / f"layout{place}" / place
        for name in ("fb237_v1", "fb237_v1_ind"):
            shutil.copytree(published / name, folder / name)
        task = load_graph("fb237_v1", tmp_path / f"layout{place}")
        assert GraphCounts.of(task) == GRAPHS["fb237_v1"].counts
    assert len(load_graph("fb237_v1", tmp_path / "layout" / "fb237_v1").train) == 4245
    raw = test_data / "planetoid" / "Cora" / "raw" / "ind.cora.graph"
    (tmp_path / "flat").mkdir()
    shutil.copyfile(raw, tmp_path / "flat" / raw.name)
    assert len(load_graph("cora", tmp_path / "flat").graph.entities) == 2708


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wn18rr", r"wn18rr: not found below .*TimDettmers/ConvE \(WN18RR.tar.gz\) .*\n"
         r".*WN18RR/train.txt\n.*WN18RR/valid.txt\n.*WN18RR/test.txt"),
        ("fb237_v2", r"kkteru/grail/tree/master/data .*\n.*fb237_v2/train.txt\n"
         r".*fb237_v2/valid.txt\n.*fb237_v2_ind/train.txt\n.*fb237_v2_ind/test.txt"),
        ("cora", r"kimiyoung/planetoid/tree/master/data .*\n.*Cora/raw/ind.cora.graph\n"
         r"or .*Cora/edges.txt"),
    ],
)  # fmt: skip
def test_a_missing_set_says_what_to_put_where_and_from_where(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        load_graph(name, tmp_path)


def test_the_data_folder_of_the_environment_is_searched(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=f"not found below {tmp_path}"):
        load_graph("wn18rr")


def test_a_set_of_another_size_is_refused(tmp_path):
    folder = tmp_path / "WN18RR"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("a\tr\tb\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"is incomplete: found 2 entities instead of 40,943, 1 rel"
    ):
        load_graph("wn18rr", tmp_path)


def test_a_list_of_links_may_stand_for_a_published_graph_and_a_note_says_if_it_differs(tmp_path):
    folder = tmp_path / "planetoid" / "Cora"
    folder.mkdir(parents=True)
    links = "".join(f"{node}\t{(node + 1) % 100}\n" for node in range(100))
    (folder / "edges.txt").write_text(links, encoding="utf-8")
    for place in (tmp_path, folder):
        (note,) = load_graph("cora", place).notes
        assert "found 100 entities instead of 2,708, 85 train instead of 4,486" in note
    with pytest.raises(DataError, match="citeseer: not found"):
        load_graph("citeseer", folder)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UsageError, match=r'Unknown graph "wn18r".* Did you mean "wn18rr"'):
        find_graph("wn18r")


def test_every_entry_says_what_it_is_and_where_it_comes_from():
    for entry in GRAPHS.values():
        assert entry.description
        assert entry.licence
        assert entry.citation
        assert entry.source.startswith("https://github.com/")


def test_own_data_may_be_a_folder_of_triples_or_of_links_or_a_file(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("a\tr\tb\n", encoding="utf-8")
    assert load_own_graph(tmp_path).kind == "transductive"
    ring = tmp_path / "ring"
    ring.mkdir()
    links = "".join(f"{node}\t{(node + 1) % 30}\n" for node in range(30))
    (ring / "edges.txt").write_text(links, encoding="utf-8")
    for path in (ring, ring / "edges.txt"):
        task = load_own_graph(path)
        assert (task.kind, len(task.train)) == ("link_prediction", 25)
    assert load_own_graph(ring).name == "ring"
