"""What a model of graphs is trained on and judged by."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from neuro.errors import DataError
from neuro.graph.triples import (
    KnowledgeGraph,
    Triple,
    check_triples,
    numbered,
    read_triples,
    triple_keys,
)

TaskKind = Literal["transductive", "inductive", "link_prediction"]
SPLITS = ("train.txt", "valid.txt", "test.txt")
INDUCTIVE = "_ind"


@dataclass(frozen=True, eq=False, kw_only=True)
class ReasoningTask:
    """A graph to learn from, and triples to tell from false ones.

    ``"transductive"``: one graph, held-out facts. ``"inductive"``: trained on one graph, tested on
    another one with the same relations and other entities. ``"link_prediction"``: one undirected
    graph of one relation, held-out links.

    Attributes:
        name: what it is called.
        kind: see above.
        graph: the training graph; its facts are both what messages run along and the positives.
        valid: int64 ``[n, 3]``, validation triples, numbered as in ``graph``.
        test_graph: along which messages run in the test; ``graph``, unless inductive. Relations
            are numbered as in ``graph``, entities not.
        test: int64 ``[n, 3]``, test triples, numbered as in ``test_graph``.
        valid_known, test_known: int64 ``[n, 3]``, rows may repeat: triples known to be true when
            valid or test triples are ranked or given negatives, hence never candidates.
            Transductive: train, valid and test. Inductive: the facts of the graph, as published
            evaluations have it; other answers of the test are candidates. Link prediction: the
            split's own links.
        notes: what a user might want to know was found in the data, a sentence each.

    Raises:
        DataError: triples do not fit their graph, or the test graph has other relations.
    """

    name: str
    kind: TaskKind
    graph: KnowledgeGraph
    valid: Tensor
    test_graph: KnowledgeGraph
    test: Tensor
    valid_known: Tensor
    test_known: Tensor
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.graph.relations != self.test_graph.relations:
            raise DataError(f"{self.name}: train and test graph must have the same relations.")
        for what, triples, graph in (
            ("valid", self.valid, self.graph),
            ("valid_known", self.valid_known, self.graph),
            ("test", self.test, self.test_graph),
            ("test_known", self.test_known, self.test_graph),
        ):
            entities, relations = len(graph.entities), len(graph.relations)
            check_triples(f"{self.name}: {what}", triples, entities, relations)

    @property
    def train(self) -> Tensor:
        """The training triples, int64 ``[n, 3]``: the facts of ``graph``."""
        return self.graph.facts

    @property
    def undirected(self) -> bool:
        """Whether a link goes both ways."""
        return self.kind == "link_prediction"


def load_folder(folder: Path | str, *, name: str | None = None) -> ReasoningTask:
    """Load a task from a folder of ``head<TAB>relation<TAB>tail`` files.

    ``X/train.txt``, ``X/valid.txt``, ``X/test.txt`` make a transductive task. An inductive one has
    beside X the folder ``X_ind`` with ``train.txt`` (the graph of the test) and ``test.txt``.
    ``folder`` is X, or a folder that holds one such pair.

    Raises:
        DataError: files are missing, malformed or empty, or nothing is left to validate or test.
    """
    folder = Path(os.path.abspath(folder))  # so that "." has a name
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. {_LAYOUT}")
    if not (folder / SPLITS[0]).is_file():
        folder = _inner_pair(folder)
    beside = folder.parent / f"{folder.name}{INDUCTIVE}"
    if (beside / SPLITS[0]).is_file():
        return inductive_task(
            name or folder.name,
            *_read(folder, SPLITS[:2]),
            *_read(beside, (SPLITS[0], SPLITS[2])),
        )
    return transductive_task(name or folder.name, *_read(folder, SPLITS))


def transductive_task(
    name: str,
    train: Sequence[Triple],
    valid: Sequence[Triple],
    test: Sequence[Triple],
) -> ReasoningTask:
    """Make a task of held-out facts.

    Entities that only ``valid`` or ``test`` name become nodes without edges. Triples whose
    relation ``train`` lacks are left out, and a note says so.

    Raises:
        DataError: nothing to train on, to validate or to test.
    """
    relations = {relation for _, relation, _ in train}
    notes: list[str] = []
    held_out = [
        _with_relations(split, relations, what, notes)
        for split, what in ((valid, "validation"), (test, "test"))
    ]
    graph = KnowledgeGraph.of(train, entities=_entities(*held_out))
    _note_unseen(train, held_out, "validation or test triples", notes)
    numbers = [numbered(split, graph.entity_numbers, graph.relation_numbers) for split in held_out]
    _note_leaks(graph, numbers, notes)
    known = torch.cat([graph.facts, *numbers])
    return ReasoningTask(
        name=name,
        kind="transductive",
        graph=graph,
        valid=_some(numbers[0], name, "validation"),
        test_graph=graph,
        test=_some(numbers[1], name, "test"),
        valid_known=known,
        test_known=known,
        notes=(*graph.notes, *notes),
    )


def inductive_task(
    name: str,
    train: Sequence[Triple],
    valid: Sequence[Triple],
    test_facts: Sequence[Triple],
    test: Sequence[Triple],
) -> ReasoningTask:
    """Make a task whose test is on another graph.

    Relations are those of ``train``; facts and triples with others are left out, and a note says
    so. Entities that occur in no fact of their graph become nodes without edges.

    Raises:
        DataError: nothing to train on, to validate or to test.
    """
    relations = {relation for _, relation, _ in train}
    notes: list[str] = []
    valid = _with_relations(valid, relations, "validation", notes)
    test_facts = _with_relations(test_facts, relations, "test graph", notes)
    test = _with_relations(test, relations, "test", notes)
    graph = KnowledgeGraph.of(train, entities=_entities(valid))
    test_graph = KnowledgeGraph.of(test_facts, entities=_entities(test), relations=graph.relations)
    if shared := {*graph.entities} & {*test_graph.entities}:
        notes.append(f"Entities in both graphs: {len(shared):,} ({_listed(shared)}).")
    _note_unseen(train, [valid], "validation triples", notes)
    _note_unseen(test_facts, [test], "test triples", notes)
    held_out = numbered(valid, graph.entity_numbers, graph.relation_numbers)
    asked = numbered(test, test_graph.entity_numbers, test_graph.relation_numbers)
    _note_leaks(graph, [held_out], notes)
    _note_leaks(test_graph, [asked], notes)
    return ReasoningTask(
        name=name,
        kind="inductive",
        graph=graph,
        valid=_some(held_out, name, "validation"),
        test_graph=test_graph,
        test=_some(asked, name, "test"),
        valid_known=graph.facts,
        test_known=test_graph.facts,
        notes=(
            *(f"Training graph: {note}" for note in graph.notes),
            *(f"Test graph: {note}" for note in test_graph.notes),
            *notes,
        ),
    )


_LAYOUT = (
    "A task is a folder X with train.txt, valid.txt and test.txt, lines of "
    "head<TAB>relation<TAB>tail; an inductive one has beside X a folder X_ind with train.txt and "
    "test.txt."
)


def _read(folder: Path, files: Sequence[str]) -> list[list[Triple]]:
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}. {_LAYOUT}")
    return [read_triples(folder / name) for name in files]


def _inner_pair(folder: Path) -> Path:
    pairs = [
        inner
        for other in sorted(folder.glob(f"*{INDUCTIVE}"))
        if (other / SPLITS[0]).is_file()
        and (inner := other.with_name(other.name.removesuffix(INDUCTIVE)) / SPLITS[0]).is_file()
    ]
    if len(pairs) != 1:
        found = ", ".join(pair.parent.name for pair in pairs)
        what = f"holds several tasks ({found}); name one" if pairs else f"lacks {SPLITS[0]}"
        raise DataError(f"{folder} {what}. {_LAYOUT}")
    return pairs[0].parent


def _entities(*splits: Sequence[Triple]) -> set[str]:
    return {name for split in splits for head, _, tail in split for name in (head, tail)}


def _with_relations(
    triples: Sequence[Triple], relations: set[str], what: str, notes: list[str]
) -> list[Triple]:
    usable = [triple for triple in triples if triple[1] in relations]
    if len(usable) < len(triples):
        unknown = {relation for _, relation, _ in triples} - relations
        notes.append(
            f"Left out of the {what} triples: {len(triples) - len(usable):,}, whose relations the "
            f"training triples lack ({_listed(unknown)})."
        )
    return usable


def _note_unseen(
    facts: Sequence[Triple],
    held_out: Sequence[Sequence[Triple]],
    what: str,
    notes: list[str],
) -> None:
    seen = _entities(facts)
    unseen = _entities(*held_out) - seen
    if unseen:
        triples = sum(
            head in unseen or tail in unseen for split in held_out for head, _, tail in split
        )
        notes.append(
            f"Entities in {what} only: {len(unseen):,} ({_listed(unseen)}), in {triples:,} "
            "triples; they are nodes without edges."
        )


def _note_leaks(graph: KnowledgeGraph, held_out: Sequence[Tensor], notes: list[str]) -> None:
    sizes = len(graph.entities), len(graph.relations)
    asked = triple_keys(torch.cat(list(held_out)), *sizes)
    leaked = int(torch.isin(asked, triple_keys(graph.facts, *sizes)).sum())
    if leaked:
        notes.append(f"Held-out triples that are also facts of the graph: {leaked:,}.")


def _listed(names: set[str]) -> str:
    first = sorted(names)[:5]
    return ", ".join(first) + (", ..." if len(names) > len(first) else "")


def _some(triples: Tensor, name: str, what: str) -> Tensor:
    if not len(triples):
        raise DataError(
            f"{name}: no {what} triple is left; each needs a relation that occurs in train.txt."
        )
    return triples
