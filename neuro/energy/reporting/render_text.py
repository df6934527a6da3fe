"""A document as text for a terminal, as Markdown, and as LaTeX."""

import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from neuro.energy.reporting.bibtex import bibtex
from neuro.energy.reporting.document import Document, Table

WIDTH = 100
"""Columns of a line of words; those of a table are never cut."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "µ": r"$\mu$",
    "<": r"$<$",
    ">": r"$>$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_SPECIAL = re.compile("|".join(map(re.escape, _LATEX)))


def text(document: Document) -> str:
    """Write a document for a terminal: columns as wide as they need to be, nothing cut."""
    lines = [document.title, *(f"  {line}" for line in document.lines)]
    for table in document.tables:
        lines += ["", table.title, *(f"  {line}" for line in _aligned(table))]
        lines += _wrapped(table.note) if table.note else []
    for heading, by_profile in document.lists.items():
        lines += ["", heading]
        for profile, told in by_profile.items():
            lines += (line for each in told for line in _wrapped(f"{profile}: {each}"))
    return "\n".join(lines) + "\n"


def markdown(document: Document) -> str:
    """Write a document as Markdown with tables."""
    lines = [f"# {_cell(document.title)}", ""]
    lines += [f"- {_cell(line)}" for line in document.lines]
    for table in document.tables:
        lines += ["", f"## {_cell(table.title)}", "", _row(table.header)]
        lines += ["|" + "---|" * len(table.header), *map(_row, table.rows)]
        lines += ["", _cell(table.note)] if table.note else []
    for heading, by_profile in document.lists.items():
        lines += ["", f"## {heading}", ""]
        for profile, told in by_profile.items():
            lines += [f"- {_cell(profile)}: {_cell(each)}" for each in told]
    lines += ["", "```bibtex", _bibtex(document), "```"]
    return "\n".join(lines) + "\n"


def latex(document: Document) -> str:
    """Write the tables of a document as LaTeX that needs no package, BibTeX in comments."""
    lines = [f"% {document.title}", *(f"% {line}" for line in document.lines)]
    for table in document.tables:
        lines += ["", r"\begin{table}", rf"\caption{{{_escaped(_caption(table))}}}"]
        lines += [rf"\begin{{tabular}}{{{'l' * len(table.header)}}}", r"\hline"]
        lines += [_latex_row(table.header), r"\hline", *map(_latex_row, table.rows), r"\hline"]
        lines += [r"\end{tabular}", r"\end{table}"]
    for heading, by_profile in document.lists.items():
        lines += ["", f"% {heading}"]
        lines += [f"% {profile}: {each}" for profile, told in by_profile.items() for each in told]
    lines += ["", *(f"% {line}".rstrip() for line in _bibtex(document).splitlines())]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _aligned(table: Table) -> Iterator[str]:
    rows = (table.header, *table.rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _bibtex(document: Document) -> str:
    return bibtex(source for sources in document.sources.values() for source in sources)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    """Keep what Markdown would read as its own signs as text."""
    return re.sub(r"([\\`*_|<\[\]])", r"\\\1", text.strip())


def _caption(table: Table) -> str:
    return f"{table.title}. {table.note}" if table.note else table.title


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _LATEX[found.group()], text.strip())
