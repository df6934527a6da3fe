"""``neuro datasets``: what there is, what is present, where the rest comes from."""

from pathlib import Path
from typing import Any

from neuro.cli.output import print_json, print_table
from neuro.errors import UsageError, nearest


def datasets(
    name: str | None = None, /, *, data_dir: Path | None = None, json: bool = False
) -> None:
    """List data sets and graphs, or all that is known of one.

    Parameters
    ----------
    name
        Show everything about this data set or graph.
    data_dir
        Where to look for files; default the download folder ($NEURO_DATA_DIR, else the cache).
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.data import DATASETS
    from neuro.data.entry import default_data_dir
    from neuro.graph import GRAPHS

    if name is not None and name not in DATASETS and name not in GRAPHS:
        known = (*DATASETS, *GRAPHS)
        raise UsageError(
            f'Unknown data set or graph "{name}".{nearest(name, known)} Known: {", ".join(known)}.'
        )
    root = (data_dir or default_data_dir()).expanduser()
    records, graphs = (
        [describe(entry, root) for entry in registry.values() if name in (None, entry.name)]
        for registry, describe in ((DATASETS, _describe), (GRAPHS, _describe_graph))
    )
    if json:
        print_json({"data_dir": str(root), "datasets": records, "graphs": graphs, "schema": 1})
    elif name is None:
        _print_lists(root, records, graphs)
    elif graphs:
        _print_graph(graphs[0])
    else:
        _print_details(records[0])


def _describe(entry: Any, root: Path) -> dict[str, Any]:
    sizes = [file.size for file in entry.files]
    return {
        "name": entry.name,
        "kind": entry.kind,
        "description": entry.description,
        "present": bool(entry.present(root)),
        "size_bytes": None if None in sizes else sum(sizes),
        "licence": entry.licence,
        "citation": entry.citation,
        "options": list(entry.options),
        "files": [
            {
                "name": file.name,
                "url": file.url,
                "size_bytes": file.size,
                "checksum": file.checksum,
                "direct": file.direct,
            }
            for file in entry.files
        ],
    }


def _describe_graph(entry: Any, root: Path) -> dict[str, Any]:
    found = None if entry.embedded else entry.find(root)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "description": entry.description,
        "embedded": entry.embedded,
        "found": None if found is None else str(found),
        "licence": entry.licence,
        "citation": entry.citation,
        "source": entry.source,
        "files": list(entry.files),
        "counts": {key: count for key, count in vars(entry.counts).items() if count is not None},
    }


def _print_lists(root: Path, records: list[dict[str, Any]], graphs: list[dict[str, Any]]) -> None:
    print(f"data folder: {root}")
    rows = [
        (
            record["name"],
            record["kind"],
            "yes" if record["present"] else "no",
            _size(record["size_bytes"]),
            record["licence"],
            record["files"][0]["url"] if record["files"] else "needs no download",
        )
        for record in records
    ]
    print_table(("dataset", "kind", "present", "size", "licence", "source"), rows)
    print()
    rows = [
        (
            record["name"],
            record["kind"].replace("_", " "),
            _presence(record),
            f"{record['counts']['train']:,}",
            record["licence"],
            record["source"],
        )
        for record in graphs
    ]
    print_table(("graph", "kind", "present", "triples", "licence", "source"), rows)
    print("`neuro datasets NAME` shows description, files and more of one.")


def _presence(graph: dict[str, Any]) -> str:
    return "embedded" if graph["embedded"] else "yes" if graph["found"] else "no"


def _print_details(record: dict[str, Any]) -> None:
    print(f"{record['name']} ({record['kind']}): {record['description']}")
    rows = [
        ("present", "yes" if record["present"] else "no"),
        ("licence", record["licence"]),
        ("citation", record["citation"]),
        ("options", ", ".join(record["options"]) or "none"),
    ]
    for file in record["files"]:
        rows.append(("file", f"{file['name']}, {_size(file['size_bytes'])}"))
        rows.append(("", f"{file['url']}{'' if file['direct'] else ' (by hand)'}"))
        rows.append(("", file["checksum"] or "no checksum published"))
    _print_rows(rows)


def _print_graph(record: dict[str, Any]) -> None:
    print(f"{record['name']} ({record['kind'].replace('_', ' ')}): {record['description']}")
    where = f"yes, {record['found']}" if record["found"] else _presence(record)
    rows = [
        ("present", where),
        ("licence", record["licence"]),
        ("citation", record["citation"]),
        ("source", record["source"]),
    ]
    for key, count in record["counts"].items():
        what, unit = _COUNTS[key]
        rows.append((what, f"{count:,} {unit}".rstrip()))
    if not record["embedded"]:
        rows.extend(("file", name) for name in record["files"])
    _print_rows(rows)
    if where == "no":
        print("  Put the files, named as above, below the data folder, or name their folder.")


_COUNTS = {
    "entities": ("entities", ""),
    "relations": ("relations", ""),
    "train": ("train", "triples"),
    "valid": ("valid", "triples"),
    "test": ("test", "triples"),
    "test_entities": ("tested on", "entities of another graph"),
    "test_facts": ("", "facts in it"),
}


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for key, value in rows:
        print(f"  {key:9} {value}")


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e6:,.1f} MB" if size else "-"
