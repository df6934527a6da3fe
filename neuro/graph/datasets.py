"""Published graphs by name: a few are embedded, the others are read from a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from neuro.data.entry import default_data_dir
from neuro.errors import DataError, UsageError, nearest
from neuro.graph.links import load_links
from neuro.graph.tasks import INDUCTIVE, SPLITS, ReasoningTask, TaskKind, load_folder

CONVE = "https://github.com/TimDettmers/ConvE"
GRAIL = "https://github.com/kkteru/grail"
PLANETOID = "https://github.com/kimiyoung/planetoid"
EDGES = "edges.txt"
# Folders below a data folder in which sets are commonly kept together.
COLLECTIONS = ("", "kg", "kg-inductive", "planetoid")


@dataclass(frozen=True, kw_only=True)
class GraphCounts:
    """How much a data set holds; a file of another length is noticed.

    Attributes:
        entities: of the training graph, those included that occur in validation triples only,
            and if the test is on the same graph, in test triples only.
        relations: of the training triples.
        train, valid, test: triples; train without those that repeat.
        test_entities, test_facts: of the test graph, if that is another one.
    """

    entities: int
    relations: int
    train: int
    valid: int
    test: int
    test_entities: int | None = None
    test_facts: int | None = None

    @classmethod
    def of(cls, task: ReasoningTask) -> "GraphCounts":
        """Count what a task holds."""
        other = task.kind == "inductive"
        return cls(
            entities=len(task.graph.entities),
            relations=len(task.graph.relations),
            train=len(task.train),
            valid=len(task.valid),
            test=len(task.test),
            test_entities=len(task.test_graph.entities) if other else None,
            test_facts=len(task.test_graph.facts) if other else None,
        )


@dataclass(frozen=True, kw_only=True)
class GraphEntry:
    """One data set.

    Args:
        name: the name users ask for.
        kind: what is asked of the graph.
        description: one line.
        licence: of the data.
        citation: authors, title, venue, year.
        source: public address of the files.
        folder: the folder that holds them, as published.
        files: their names, below what holds ``folder``.
        counts: what must be found.
        embedded: whether it comes with this package.
    """

    name: str
    kind: TaskKind
    description: str
    licence: str
    citation: str
    source: str
    folder: str
    files: tuple[str, ...]
    counts: GraphCounts
    embedded: bool = False

    def load(self, data_dir: Path) -> ReasoningTask:
        """Load the files as they lie below ``data_dir``; embedded ones need no folder.

        Raises:
            DataError: files are missing, malformed, or not the published ones.
        """
        if self.embedded:
            with as_file(files("neuro.graph") / "data" / self.folder) as folder:
                return self._checked(load_folder(folder, name=self.name), folder)
        found = self.find(data_dir)
        if found is None:
            raise DataError(self._how_to_get(data_dir))
        read: Callable[..., ReasoningTask] = load_folder if found.is_dir() else load_links
        return self._checked(read(found, name=self.name), found)

    def find(self, data_dir: Path) -> Path | None:
        """The folder of triples or file of links to load, or None."""
        for folder in self._folders(data_dir):
            if self.kind == "link_prediction":
                raw = Path(self.files[0]).name
                places = [folder / "raw" / raw, folder / raw]
                # A list in a folder of another name may be of any graph.
                if folder.name in (self.folder, self.name):
                    places.append(folder / EDGES)
                for path in places:
                    if path.is_file():
                        return path
            elif self._holds_triples(folder):
                return folder
        return None

    def _holds_triples(self, folder: Path) -> bool:
        beside = folder.parent / f"{folder.name}{INDUCTIVE}"
        if self.kind == "inductive" and not (beside / SPLITS[0]).is_file():
            return False
        return (folder / SPLITS[0]).is_file()

    def _folders(self, data_dir: Path) -> Iterator[Path]:
        for collection in COLLECTIONS:
            for own in dict.fromkeys((self.folder, self.name)):
                yield data_dir / collection / own
        # The folder named may be the set's own.
        yield data_dir.absolute()

    def _checked(self, task: ReasoningTask, where: Path) -> ReasoningTask:
        found = GraphCounts.of(task)
        if found == self.counts:
            return task
        wrong = ", ".join(
            f"{getattr(found, field) or 0:,} {field.replace('_', ' ')} instead of {expected:,}"
            for field, expected in vars(self.counts).items()
            if expected is not None and getattr(found, field) != expected
        )
        if where.name == EDGES:
            note = f"{where} does not hold the links of {self.source}: found {wrong}."
            return replace(task, notes=(*task.notes, note))
        raise DataError(
            f"{self.name}: {where} is not the published data set, or is incomplete: found "
            f"{wrong}. Get it again from {self.source}, or load it as a folder of your own."
        )

    def _how_to_get(self, data_dir: Path) -> str:
        lines = "\n".join(f"  {data_dir / name}" for name in self.files)
        alternative = (
            f"\nor {data_dir / self.folder / EDGES}, lines of node<TAB>node"
            if self.kind == "link_prediction"
            else ""
        )
        return (
            f"{self.name}: not found below {data_dir}. Put there, from {self.source} "
            f"(licence: {self.licence}),\n{lines}{alternative}\n"
            "or name the folder where you have them."
        )


def _triples(folder: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{split}" for split in SPLITS)


def _small(
    name: str, folder: str, description: str, citation: str, counts: GraphCounts
) -> GraphEntry:
    return GraphEntry(
        name=name,
        kind="transductive",
        description=f"{description}, embedded",
        licence="MIT (the repository that publishes the split)",
        citation=citation,
        source=CONVE,
        folder=folder,
        files=_triples(folder),
        counts=counts,
        embedded=True,
    )


def _countries(number: int, train: int) -> GraphEntry:
    return _small(
        f"countries-s{number}",
        f"countries_s{number}",
        f"countries, their neighbours and regions, task S{number}: {number} steps to the region",
        "Bouchard, Singh, Trouillon: On Approximate Reasoning Capabilities of Low-Rank Vector "
        "Spaces, AAAI Spring Symposium, 2015",
        GraphCounts(entities=271, relations=2, train=train, valid=24, test=24),
    )


_CITATION_GRAIL = (
    "Teru, Denis, Hamilton: Inductive Relation Prediction by Subgraph Reasoning, ICML, 2020"
)


def _inductive(
    name: str,
    folder: str,
    licence: str,
    train: tuple[int, int, int],
    held_out: tuple[int, int],
    test: tuple[int, int],
) -> GraphEntry:
    """``train``: relations, entities, facts; ``held_out``: valid, test; ``test``: of its graph."""
    base = folder.split("_")[0]
    return GraphEntry(
        name=name,
        kind="inductive",
        description=f"{base} split {folder[-1]}: train on one graph, test on another one",
        licence=licence,
        citation=_CITATION_GRAIL,
        source=f"{GRAIL}/tree/master/data",
        folder=folder,
        files=(
            f"{folder}/{SPLITS[0]}",
            f"{folder}/{SPLITS[1]}",
            f"{folder}{INDUCTIVE}/{SPLITS[0]}",
            f"{folder}{INDUCTIVE}/{SPLITS[2]}",
        ),
        counts=GraphCounts(
            relations=train[0],
            entities=train[1],
            train=train[2],
            valid=held_out[0],
            test=held_out[1],
            test_entities=test[0],
            test_facts=test[1],
        ),
    )


_WORDNET = "WordNet licence"
_FREEBASE = "CC BY 2.5 (Freebase)"


def _planetoid(name: str, folder: str, what: str, counts: GraphCounts) -> GraphEntry:
    return GraphEntry(
        name=name,
        kind="link_prediction",
        description=(
            f"{what} and their citations, as Planetoid has them: not the links of the LINQS "
            "archive, on which most tables are made"
        ),
        licence="MIT",
        citation=(
            "Yang, Cohen, Salakhutdinov: Revisiting Semi-Supervised Learning with Graph "
            "Embeddings, ICML, 2016"
        ),
        source=f"{PLANETOID}/tree/master/data",
        folder=folder,
        files=(f"{folder}/raw/ind.{name}.graph",),
        counts=counts,
    )


_CITATION_KEMP = (
    "Kemp, Tenenbaum, Griffiths, Yamada, Ueda: Learning Systems of Concepts with an Infinite "
    "Relational Model, AAAI, 2006"
)
_CITATION_CONVE = (
    "Dettmers, Minervini, Stenetorp, Riedel: Convolutional 2D Knowledge Graph Embeddings, AAAI, "
    "2018"
)

_ENTRIES: tuple[GraphEntry, ...] = (
    _small(
        "umls",
        "umls",
        "the semantic network of the Unified Medical Language System",
        f"McCray: An Upper-Level Ontology for the Biomedical Domain, 2003; {_CITATION_KEMP}",
        GraphCounts(entities=135, relations=46, train=5216, valid=652, test=661),
    ),
    _small(
        "nations",
        "nations",
        "political relations of 14 nations in the 1950s and 1960s",
        f"Rummel: Dimensionality of Nations Project, 1992; {_CITATION_KEMP}",
        GraphCounts(entities=14, relations=55, train=1592, valid=199, test=201),
    ),
    _small(
        "kinship",
        "kinship",
        "kinship terms between the members of an Alyawarra community",
        "Denham: The Detection of Patterns in Alyawarra Nonverbal Behavior, 1973; "
        + _CITATION_KEMP,
        GraphCounts(entities=104, relations=25, train=8544, valid=1068, test=1074),
    ),
    _countries(1, 1110),
    _countries(2, 1062),
    _countries(3, 984),
    GraphEntry(
        name="wn18rr",
        kind="transductive",
        description="WordNet without inverse relations: 40,943 senses, 11 relations",
        licence=_WORDNET,
        citation=_CITATION_CONVE,
        source=f"{CONVE} (WN18RR.tar.gz)",
        folder="WN18RR",
        files=_triples("WN18RR"),
        counts=GraphCounts(entities=40943, relations=11, train=86835, valid=3034, test=3134),
    ),
    GraphEntry(
        name="fb15k-237",
        kind="transductive",
        description="Freebase without inverse relations: 14,541 entities, 237 relations",
        licence=_FREEBASE,
        citation=(
            "Toutanova, Chen: Observed versus Latent Features for Knowledge Base and Text "
            "Inference, CVSC, 2015"
        ),
        source=f"{CONVE} (FB15k-237.tar.gz)",
        folder="FB15k-237",
        files=_triples("FB15k-237"),
        counts=GraphCounts(entities=14541, relations=237, train=272115, valid=17535, test=20466),
    ),
    _inductive("wn18rr_v1", "WN18RR_v1", _WORDNET, (9, 2746, 5410), (630, 188), (922, 1618)),
    _inductive("wn18rr_v2", "WN18RR_v2", _WORDNET, (10, 6954, 15262), (1838, 441), (2757, 4011)),
    _inductive("wn18rr_v3", "WN18RR_v3", _WORDNET, (11, 12078, 25901), (3097, 605), (5084, 6327)),
    _inductive("wn18rr_v4", "WN18RR_v4", _WORDNET, (9, 3861, 7940), (934, 1429), (7084, 12334)),
    _inductive("fb237_v1", "fb237_v1", _FREEBASE, (180, 1594, 4245), (489, 205), (1093, 1993)),
    _inductive("fb237_v2", "fb237_v2", _FREEBASE, (200, 2608, 9739), (1166, 478), (1660, 4145)),
    _inductive("fb237_v3", "fb237_v3", _FREEBASE, (215, 3668, 17986), (2194, 865), (2501, 7406)),
    _inductive("fb237_v4", "fb237_v4", _FREEBASE, (219, 4707, 27203), (3352, 1424), (3051, 11714)),
    _planetoid(
        "cora",
        "Cora",
        "2,708 papers on machine learning",
        GraphCounts(entities=2708, relations=1, train=4486, valid=263, test=529),
    ),
    _planetoid(
        "citeseer",
        "CiteSeer",
        "3,327 papers on computer science",
        GraphCounts(entities=3327, relations=1, train=3869, valid=227, test=456),
    ),
)
GRAPHS: dict[str, GraphEntry] = {entry.name: entry for entry in _ENTRIES}


def find_graph(name: str) -> GraphEntry:
    """Return the entry called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in GRAPHS:
        raise UsageError(
            f'Unknown graph "{name}".{nearest(name, GRAPHS)} Known: {", ".join(GRAPHS)}. '
            "A graph of your own is named by its folder."
        )
    return GRAPHS[name]


def load_graph(name: str, data_dir: Path | str | None = None) -> ReasoningTask:
    """Load a published graph by name.

    Args:
        name: a key of ``GRAPHS``.
        data_dir: where to look for a set that is not embedded: its own folder, or one that holds
            it, directly or in ``kg``, ``kg-inductive`` or ``planetoid``. None =
            ``$NEURO_DATA_DIR``, else the user's cache folder. Nothing is downloaded or written.

    Raises:
        UsageError: unknown name.
        DataError: files are missing, malformed, or not the published ones.
    """
    entry = find_graph(name)
    return entry.load(default_data_dir() if data_dir is None else Path(data_dir).expanduser())


def load_own_graph(path: Path | str) -> ReasoningTask:
    """Load a user's own task, named after its place.

    Args:
        path: a folder of triples (:func:`neuro.graph.tasks.load_folder`), or one with
            ``edges.txt``, or a file of links (:func:`neuro.graph.links.load_links`).

    Raises:
        DataError: files are missing, malformed or empty.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return load_links(path)
    if (path / EDGES).is_file():
        return load_links(path / EDGES, name=path.resolve().name)
    return load_folder(path)
