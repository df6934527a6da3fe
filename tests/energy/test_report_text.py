"""Text, Markdown and LaTeX: the same cells, and nothing that the reader would take for a sign."""

import re

from neuro.energy.reporting.render_text import latex, markdown, text
from neuro.energy.reporting.tables import document
from tests.energy.records import record

WHOLE = document(record())


def test_a_terminal_gets_aligned_columns():
    lines = text(WHOLE).splitlines()
    assert lines[0] == "opzo on digits with mlp"
    assert lines[1] == "  runs/one, checkpoint last"
    start = lines.index("Energy by layer (estimate)")
    rows = lines[start + 1 : start + 5]
    assert [row.index(word) for row, word in zip(rows, ("fine", "1 nJ", "230 pJ", "1.2 nJ"),
                                                 strict=True)] == [13] * 4  # fmt: skip
    assert not any(line != line.rstrip() for line in lines)
    assert "  fine: Fine et al. 2014, A table of 50 % & more, Table 2" in lines


def test_every_cell_is_in_every_rendering():
    for table in WHOLE.tables:
        for row in table.rows:
            for cell in filter(None, row):
                assert cell in text(WHOLE)
                assert cell in re.sub(r"\\(.)", r"\1", markdown(WHOLE))


def test_markdown_rows_have_as_many_cells_as_their_header():
    blocks = re.findall(r"(?:^\|.*\n)+", markdown(WHOLE), flags=re.MULTILINE)
    assert len(blocks) == len(WHOLE.tables)
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert r"\<lif> & 2" in markdown(WHOLE)
    assert "```bibtex\n@misc{fine2014," in markdown(WHOLE)


def test_latex_escapes_what_it_would_read():
    written = latex(WHOLE)
    assert r"$<$lif$>$ \& 2 & neurons" in written
    assert r"1.2 $\mu$J (estimate, derived)" in written
    assert r"12.5 \%" in written
    assert written.count(r"\begin{tabular}") == written.count(r"\end{tabular}") == len(WHOLE.tables)
    for line in written.splitlines():
        if line.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", line)) + 1 in {len(t.header) for t in WHOLE.tables}
    assert "% @misc{fine2014," in written
