"""``neuro datasets``: what there is, what is present, where the rest comes from."""

from pathlib import Path
from typing import Any

from neuro.cli.output import print_json, print_table


def datasets(
    name: str | None = None, /, *, data_dir: Path | None = None, json: bool = False
) -> None:
    """List data sets, or all that is known of one.

    Parameters
    ----------
    name
        Show everything about this data set.
    data_dir
        Where to look for files; default the download folder ($NEURO_DATA_DIR, else the cache).
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.data import DATASETS
    from neuro.data.entry import default_data_dir
    from neuro.data.registry import find_entry

    root = data_dir or default_data_dir()
    entries = [find_entry(name)] if name else list(DATASETS.values())
    records = [_describe(entry, root) for entry in entries]
    if json:
        print_json({"data_dir": str(root), "datasets": records, "schema": 1})
        return
    if name:
        _print_details(records[0])
        return
    print(f"data folder: {root}")
    rows = []
    for record in records:
        rows.append(
            (
                record["name"],
                record["kind"],
                "yes" if record["present"] else "no",
                _size(record["size_bytes"]),
                record["licence"],
                record["files"][0]["url"] if record["files"] else "needs no download",
            )
        )
    print_table(("dataset", "kind", "present", "size", "licence", "source"), rows)
    print("`neuro datasets NAME` shows description, options, files and checksums of one.")


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
    for key, value in rows:
        print(f"  {key:9} {value}")


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e6:,.1f} MB" if size else "-"
