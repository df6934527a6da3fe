"""Sources as BibTeX."""

import re
from collections.abc import Iterable


def bibtex(sources: Iterable[str]) -> str:
    """Write sources as BibTeX, each once, by the name and year they begin with."""
    entries: list[str] = []
    taken: dict[str, int] = {}
    for source in dict.fromkeys(sources):
        year = re.search(r"\b(?:19|20)\d\d\b", source)
        name = re.match(r"\W*(\w+)", source)
        key = (name.group(1).lower() if name else "source") + (year.group() if year else "")
        taken[key] = taken.get(key, 0) + 1
        key += "" if taken[key] == 1 else chr(ord("a") + taken[key] - 1)
        lines = [f"@misc{{{key},", f"  title = {{{{{_braced(source)}}}}},"]
        lines += [f"  year = {{{year.group()}}},"] if year else []
        entries.append("\n".join([*lines, "}"]))
    return "\n\n".join(entries)


def _braced(text: str) -> str:
    return re.sub(r"([&%$#_])", r"\\\1", text.replace("{", "(").replace("}", ")"))
