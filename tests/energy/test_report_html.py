"""The page as text: whole in itself, and safe whatever a run is called."""

import json
import re
from html import unescape

import pytest

from neuro.energy.reporting.comparison import comparison as compared
from neuro.energy.reporting.render_html import html
from neuro.energy.reporting.tables import document
from tests.energy.records import comparison, record


def written(whole):
    return html(whole, (compared if "runs" in whole else document)(whole))


@pytest.mark.parametrize("whole", [record(), comparison()], ids=["report", "comparison"])
def test_the_record_lies_in_the_page(whole):
    page = written(whole)
    found = re.search(r'<script type="application/json" id="record">(.*?)</script>', page, re.S)
    assert json.loads(found[1]) == whole


@pytest.mark.parametrize("whole", [record(), comparison()], ids=["report", "comparison"])
def test_nothing_is_fetched(whole):
    page = written(whole)
    assert re.findall(r"https?://", page) == []
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith("data:") for address in addresses)
    assert "@import" not in page
    assert "url(" not in page


def test_a_name_cannot_become_markup():
    name = '</script><script>alert("1")</script>'
    whole = record()
    whole["what"] = {**whole["what"], "run": name, "method": None}
    page = written(whole)
    assert "alert" in page
    assert "<script>alert" not in page
    assert page.count("</script>") == 2


def test_each_profile_has_its_total_its_layers_and_its_terms():
    page = written(record())
    articles = dict(re.findall(r'<article data-of="(\w+)">(.*?)</article>', page, re.S))
    assert set(articles) == {"fine", "coarse"}
    for name, total in (("fine", "1.2 nJ (estimate, simulated)"),
                        ("coarse", "1.2 µJ (estimate, derived)")):  # fmt: skip
        article = unescape(articles[name])
        assert f'<p class="total" data-figure="total">{total}</p>' in article
        assert 'data-layer="<lif> & 2"' in article
        assert 'data-term="additions"' in article
        assert 'data-constant="addition_energy"' in article


def test_bars_are_shares_of_the_longest_band():
    page = written(record())
    bars = re.findall(r'data-layer="first".*?--value:([\d.]+)%;--low:([\d.]+)%;--high:([\d.]+)%',
                      page)  # fmt: skip
    assert [tuple(map(float, bar)) for bar in bars] == [(66.7, 60.0, 100.0)] * 2


def test_a_model_that_costs_nothing_has_bars_without_length():
    whole = record()
    zero = {"value": 0.0, "low": 0.0, "high": 0.0}
    for each in whole["profiles"]:
        each["total_pj"] = zero
        for part in (*each["layers"], *each["terms"]):
            part["pj"] = zero
        each["sensitivity"] = []
    assert "--value:0%" in written(whole)
