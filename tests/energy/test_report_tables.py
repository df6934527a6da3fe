"""The cells of a report: every figure of the record, rounded, with its kind beside it."""

import re

import pytest

from neuro.energy.reporting import tables
from neuro.energy.reporting.bibtex import bibtex
from neuro.energy.reporting.cells import number
from neuro.energy.reporting.comparison import comparison as compared
from neuro.energy.reporting.document import Table
from tests.energy.records import comparison, pj, record


def cells(table: Table) -> dict[str, tuple[str, ...]]:
    """Return rows by their first cell."""
    assert all(len(row) == len(table.header) for row in table.rows)
    return {row[0]: row[1:] for row in table.rows}


def test_totals_have_two_digits_a_band_and_a_kind():
    rows = cells(tables.totals(record()))
    assert rows == {
        "fine": (
            "1.2 nJ (estimate, simulated)", "1 nJ to 2 nJ", "56 pJ", "arithmetic alone",
            "9 nJ (estimate, simulated)",
        ),
        "coarse": (
            "1.2 µJ (estimate, derived)", "1 µJ to 2 µJ", "56 nJ", "arithmetic alone",
            "9 µJ (estimate, derived)",
        ),
    }  # fmt: skip


def test_layers_show_what_happened_in_a_sample():
    rows = cells(tables.layers(record()))
    assert rows["first"] == ("linear", "real", "-", "0", "0", "1,536", "0", "20", "0")
    assert rows["<lif> & 2"] == ("neurons", "binary", "12.5 %", "7.5", "0", "0", "60", "0", "20")
    assert rows["total"] == ("", "", "", "7.5", "12.5", "1,536", "60", "1,040", "")


def test_energies_of_layers_have_a_column_for_each_profile_and_end_in_the_totals():
    table = tables.layer_energies(record())
    assert table.header == ("layer", "fine", "coarse")
    assert table.rows[0] == ("first", "1 nJ", "1 µJ")
    assert table.rows[-1] == (
        "total", "1.2 nJ (estimate, simulated)", "1.2 µJ (estimate, derived)",
    )  # fmt: skip


def test_terms_of_a_placement_stand_below_the_layers():
    whole = record()
    whole["profiles"][0]["terms"].append({"name": "static power", "pj": pj(7, 6, 8)})
    rows = cells(tables.layer_energies(whole))
    assert list(rows) == ["first", "<lif> & 2", "static power", "total"]
    assert rows["static power"] == ("7 pJ", "-")


def test_a_layer_may_be_called_as_a_term_of_a_placement_is():
    whole = record()
    whole["layers"][0]["name"] = "messages"
    for profile in whole["profiles"]:
        profile["layers"][0]["name"] = "messages"
    names = [row[0] for row in tables.layer_energies(whole).rows]
    assert names == ["messages", "<lif> & 2", "total"]


def test_accuracy_stands_beside_the_energy_of_baselines():
    rows = tables.baselines(record()).rows
    assert rows[0] == (
        "this network", "", "97.65%", "fine", "1.2 nJ (estimate, simulated)", "1 nJ to 2 nJ", "1",
    )  # fmt: skip
    assert rows[2] == (
        "ann-fp32", "-", "98.00%", "fine beside fine-own", "2.5 nJ (estimate, simulated)",
        "2 nJ to 4 nJ", "0.5 (0.25 to 0.75)",
    )  # fmt: skip
    assert rows[3][4] == "no price"
    assert rows[4][:3] == ("qnn-3bit", "3", "not trained; --baselines trains it")


def test_the_learning_rate_of_a_baseline_is_told_with_the_number_tried():
    told = " Learning rates: ann-fp32 0.003 (best of 2 on validation samples)."
    assert tables.baselines(record()).note.endswith(told)
    given = record()["baselines"]
    given[0]["budget"]["rates"] = {}
    given[1]["budget"] = {"epochs": 0, "lr": 0.5, "rates": {}}  # rounded, not trained
    told = " Learning rates: ann-fp32 0.003 (given)."
    assert tables.baselines(record(baselines=given)).note.endswith(told)
    del given[0]["budget"], given[1]["budget"]
    assert "Learning rates" not in tables.baselines(record(baselines=given)).note


def test_the_break_even_rate_says_on_which_side_a_layer_is():
    assert tables.break_even(record()).rows == (("first", "12.5 %", "6.5 % (above)", "none"),)
    rates = {"fine": 0.06, "coarse": 1.5}
    cheap = record(break_even=[{"layer": "first", "rate": 0.05, "break_even": rates}])
    assert tables.break_even(cheap).rows == (("first", "5 %", "6 % (below)", "any (below)"),)


def test_training_has_a_row_for_each_rule():
    assert tables.training(record()).rows == (
        (
            "opzo", "3", "15", "12", "7", *["5 nJ (estimate, simulated)"] * 2,
            "840 pJ (700 pJ to 900 pJ; coarse)",
        ),
        ("dkp", "not counted", "-", "-", "-", "-", "-", "-"),
    )  # fmt: skip


def test_what_is_not_there_has_no_table():
    bare = record(baselines=[], break_even=[], training=None)
    titles = [table.title for table in tables.document(bare).tables]
    assert titles[:3] == ["Energy (estimate)", "Operations", "Energy by layer (estimate)"]
    assert all(title.startswith("Sensitivity of ") for title in titles[3:])


def test_no_table_of_energies_is_without_the_word_estimate():
    for whole in (record(), comparison()):
        write = compared if "runs" in whole else tables.document
        for table in write(whole).tables:
            told = " ".join((table.title, table.note, *map(" ".join, table.rows)))
            if re.search(r"\d [pnµm]?J\b", told):
                assert "estimate" in told, table.title


def test_runs_stand_side_by_side():
    rows = cells(compared(comparison()).tables[0])
    assert rows["result"] == ("97.65%", "unknown")
    assert rows["time steps"] == ("6", "1")
    assert rows["MACs"] == ("1,536", "1,536")
    assert rows["energy, fine"] == ("1.2 nJ (estimate, simulated)",) * 2
    assert rows["seconds a sample"] == ("0.012", "-")


def test_memory_stands_beside_arithmetic_where_runs_have_it():
    whole = comparison()
    one, other = (run["profiles"][0] for run in whole["runs"])
    one["with_memory_pj"], other["with_memory_pj"] = pj(3000, 2000, 4000), None
    rows = cells(compared(whole).tables[0])
    assert rows["  with memory, fine"] == ("3 nJ (estimate, simulated)", "-")
    assert "  with memory over the first, fine" not in rows
    one["ratio_with_memory"] = {"value": 1, "low": 1, "high": 1}
    other["ratio_with_memory"] = {"value": 2, "low": 1.5, "high": 2.5}
    rows = cells(compared(whole).tables[0])
    assert rows["  with memory over the first, fine"] == ("1 (1 to 1)", "2 (1.5 to 2.5)")


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "-"), (0, "0"), (0.1234, "0.123"), (12.0, "12"), (99.4, "99.4"), (12345.6, "12,346")],
)
def test_counts_are_whole_from_a_hundred_on(value, written):
    assert number(value) == written


def test_what_is_left_out_and_noted_stands_by_profile():
    found = tables.document(record()).lists
    assert list(found) == ["No price", "Left out", "Notes", "Sources"]
    assert found["No price"] == {
        "ann-fp32, coarse": ("coarse prices no products",),
        "qnn-3bit, coarse": ("coarse prices no products",),
        "training by dkp": ("nothing is known of it",),
    }
    assert found["Left out"]["fine"] == ("comparisons: 3 a sample without a price",)
    beside = compared(comparison()).lists["Left out"]
    assert list(beside)[:2] == ["runs/one, fine", "runs/one, coarse"]
    bare = record(profiles=[], baselines=[], training=None)
    assert list(tables.document(bare).lists) == []


def test_sources_become_bibtex_with_keys_of_their_own():
    text = bibtex(
        ["Davies et al. 2018, Table 2", "Davies et al. 2018, p. 3", "No year & no {brace}",
         "Davies et al. 2018, Table 2"]
    )  # fmt: skip
    assert re.findall(r"@misc\{(.*),", text) == ["davies2018", "davies2018b", "no"]
    assert text.count("year = {2018}") == 2
    assert r"No year \& no (brace)" in text
    assert text.count("{") == text.count("}")
