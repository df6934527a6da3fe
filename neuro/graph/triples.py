"""Knowledge graphs as numbered triples: from text files, from networkx, and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor

from neuro.errors import DataError, NeuroError, nearest

if TYPE_CHECKING:
    import networkx

Triple = tuple[str, str, str]  # head, relation, tail by name
EXPECTED = "head<TAB>relation<TAB>tail"


@dataclass(frozen=True, eq=False, kw_only=True)
class KnowledgeGraph:
    """Directed facts ``head -relation-> tail`` between numbered entities.

    Attributes:
        entities: names; an entity's number is its place. Sorted, where the names were read. Some
            may occur in no fact.
        relations: names; likewise.
        facts: int64 ``[n, 3]``, columns head, relation, tail. No row occurs twice.
        duplicates: how many triples were dropped because they had occurred before.

    Raises:
        DataError: facts are not ``[n, 3]`` int64, name what is not there or repeat a row, or a
            name occurs twice.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    facts: Tensor
    duplicates: int = 0

    def __post_init__(self) -> None:
        for what, names in (("entity", self.entities), ("relation", self.relations)):
            if len(set(names)) != len(names):
                raise DataError(f"KnowledgeGraph: a name of an {what} occurs twice.")
        check_triples("KnowledgeGraph: facts", self.facts, len(self.entities), len(self.relations))
        keys = triple_keys(self.facts, len(self.entities), len(self.relations))
        if len(torch.unique(keys)) != len(keys):
            raise DataError("KnowledgeGraph: facts repeat a triple; list each once.")

    @classmethod
    def of(
        cls,
        triples: Iterable[Triple],
        *,
        entities: Iterable[str] = (),
        relations: Iterable[str] = (),
    ) -> Self:
        """Number the names of ``triples`` in sorted order; keep the order of the triples.

        Args:
            triples: (head, relation, tail) by name; what occurs again is dropped and counted.
            entities: further entities, which may occur in no triple.
            relations: further relations.

        Raises:
            DataError: there is no triple.
        """
        listed = list(triples)
        distinct = list(dict.fromkeys(listed))
        if not distinct:
            raise DataError("The graph holds no triple; it needs one at least.")
        known_entities = {*entities}
        known_entities.update(head for head, _, _ in distinct)
        known_entities.update(tail for _, _, tail in distinct)
        known_relations = {*relations, *(relation for _, relation, _ in distinct)}
        entity_names = tuple(sorted(known_entities))
        relation_names = tuple(sorted(known_relations))
        return cls(
            entities=entity_names,
            relations=relation_names,
            facts=numbered(distinct, _numbers(entity_names), _numbers(relation_names)),
            duplicates=len(listed) - len(distinct),
        )

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a text file of one triple a line; see :func:`read_triples`."""
        return cls.of(read_triples(path))

    @classmethod
    def from_networkx(cls, graph: "networkx.MultiDiGraph") -> Self:
        """Read a directed networkx graph whose edges name their relation.

        The relation is the edge's attribute ``relation``, or else, in a ``MultiDiGraph``, its key
        if that is a text. Nodes are named by ``str``; nodes without edges become entities, too.

        Raises:
            DataError: the graph is undirected or has no edge, an edge has no relation, or two
                nodes have one name.
        """
        if not graph.is_directed():
            raise DataError(
                "The networkx graph is undirected, but a fact goes from head to tail. "
                "Make it a MultiDiGraph."
            )
        names = {node: str(node) for node in graph.nodes}
        if len(set(names.values())) != len(names):
            raise DataError(
                "Two nodes of the networkx graph have one name, such as 1 and '1'; rename one."
            )
        edges = (
            graph.edges(keys=True, data=True)
            if graph.is_multigraph()
            else ((head, tail, None, data) for head, tail, data in graph.edges(data=True))
        )
        return cls.of(
            (
                (names[head], _relation_of(head, tail, key, data), names[tail])
                for head, tail, key, data in edges
            ),
            entities=names.values(),
        )

    def to_networkx(self) -> "networkx.MultiDiGraph":
        """Return a ``MultiDiGraph``; a relation is both its edge's key and ``relation``."""
        import networkx

        graph = networkx.MultiDiGraph()
        graph.add_nodes_from(self.entities)
        for head, relation, tail in self.named():
            graph.add_edge(head, tail, key=relation, relation=relation)
        return graph

    def named(self) -> list[Triple]:
        """Return the facts by name, in order."""
        return [
            (self.entities[head], self.relations[relation], self.entities[tail])
            for head, relation, tail in self.facts.tolist()
        ]

    def entity(self, name: str) -> int:
        """Return the number of an entity.

        Raises:
            NeuroError: there is none of this name; names the nearest.
        """
        return _look_up("entity", name, self.entity_numbers)

    def relation(self, name: str) -> int:
        """Return the number of a relation.

        Raises:
            NeuroError: there is none of this name; names the nearest.
        """
        return _look_up("relation", name, self.relation_numbers)

    @cached_property
    def entity_numbers(self) -> dict[str, int]:
        """Number of each entity by name."""
        return _numbers(self.entities)

    @cached_property
    def relation_numbers(self) -> dict[str, int]:
        """Number of each relation by name."""
        return _numbers(self.relations)

    @cached_property
    def self_loops(self) -> int:
        """How many facts have one entity at both ends."""
        return int((self.facts[:, 0] == self.facts[:, 2]).sum())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user might want to know was found, a sentence each."""
        found = []
        if self.duplicates:
            found.append(f"Repeated triples dropped: {self.duplicates:,}.")
        if self.self_loops:
            found.append(f"Facts from an entity to itself: {self.self_loops:,}.")
        return tuple(found)


def read_triples(path: Path | str) -> list[Triple]:
    """Read ``head<TAB>relation<TAB>tail`` lines, UTF-8, with or without a byte order mark.

    Lines end in LF or CRLF; empty ones are skipped. Names keep their spaces.

    Raises:
        DataError: the file is missing, not UTF-8, or empty, or a line is no such triple.
    """
    # read_columns has counted the three fields of each
    return cast(list[Triple], read_columns(Path(path), EXPECTED))


def read_columns(path: Path, expected: str) -> list[tuple[str, ...]]:
    """Read a text file of names separated by tabs, as many a line as ``expected`` shows.

    Raises:
        DataError: the file is missing, not UTF-8, or empty, or a line has another form.
    """
    columns = expected.count("<TAB>") + 1
    rows = []
    for number, raw in enumerate(_read_text(path, expected).split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line:
            continue
        fields = tuple(line.split("\t"))
        if len(fields) != columns or not all(map(str.strip, fields)):
            raise DataError(
                f"{path}, line {number}: expected {expected}, got {_shortened(line)} "
                f"({_what_is_wrong(fields, columns)})."
            )
        rows.append(fields)
    if not rows:
        raise DataError(f"{path} is empty: expected lines of {expected}.")
    return rows


def numbered(
    triples: Iterable[Triple],
    entity_numbers: Mapping[str, int],
    relation_numbers: Mapping[str, int],
) -> Tensor:
    """Return named triples as int64 ``[n, 3]``; every name must be known."""
    rows = [
        (entity_numbers[head], relation_numbers[relation], entity_numbers[tail])
        for head, relation, tail in triples
    ]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def triple_keys(triples: Tensor, entities: int, relations: int) -> Tensor:
    """Return one int64 for each triple ``[n, 3]``: ``(h R + r) N + t``."""
    heads, kinds, tails = triples.unbind(1)
    return (heads * relations + kinds) * entities + tails


def check_triples(what: str, triples: Tensor, entities: int, relations: int) -> None:
    """Check int64 triples ``[n, 3]`` against the numbers of entities and relations.

    Raises:
        DataError: another shape or type, or a number out of range.
    """
    if triples.dtype != torch.int64 or triples.dim() != 2 or triples.shape[1] != 3:
        raise DataError(
            f"{what} must be int64 [n, 3] (head, relation, tail), got {triples.dtype} "
            f"{list(triples.shape)}."
        )
    if not len(triples):
        return
    for name, column, size in (
        ("heads", 0, entities),
        ("relations", 1, relations),
        ("tails", 2, entities),
    ):
        least, most = (int(bound) for bound in triples[:, column].aminmax())
        if least < 0 or most >= size:
            raise DataError(
                f"{what}: {name} span {least}..{most}, but there are {size:,} (from 0 on)."
            )


def _numbers(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _look_up(what: str, name: str, numbers: Mapping[str, int]) -> int:
    if name not in numbers:
        raise NeuroError(
            f'The graph has no {what} "{name}".{nearest(name, numbers)} '
            f"It has {len(numbers):,}, from {next(iter(numbers))!r} on."
        )
    return numbers[name]


def _relation_of(head: object, tail: object, key: object, data: Mapping[str, object]) -> str:
    relation = data.get("relation", key)
    if not isinstance(relation, str) or not relation:
        raise DataError(
            f"Edge {head!r} -> {tail!r} of the networkx graph names no relation: give it a key or "
            f'an attribute "relation" that is a text, got {relation!r}.'
        )
    return relation


def _read_text(path: Path, expected: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror}. Expected a text file of {expected}."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8. Save the file "
            f"as UTF-8 text of {expected}."
        ) from error


def _shortened(line: str) -> str:
    return repr(line if len(line) <= 80 else line[:77] + "...")


def _what_is_wrong(fields: tuple[str, ...], columns: int) -> str:
    if len(fields) != columns:
        plural = "" if len(fields) == 1 else "s"
        return f"{len(fields)} field{plural} separated by tabs, not {columns}"
    return "a field is blank"
