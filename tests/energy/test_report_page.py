"""The page as a reader sees it: opened in Chromium, clicked through, compared with its record."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuro.energy.reporting import cells
from neuro.energy.reporting.report import Report
from tests.chromium import Chromium, Page, chromium
from tests.energy.records import comparison, record

PHONE = (360, 740)
DESK = (1280, 900)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser) -> Page:
    return browser.new_page()


def save(whole: dict, folder: Path) -> str:
    """Write a report and return its address."""
    file = folder / "a report.html"
    Report.from_json(whole).save(file)
    return file.resolve().as_uri()


def check_quiet(page: Page, address: str) -> None:
    """See that the page asked for nothing but itself, and complained of nothing."""
    page.evaluate("1")  # events on their way have come once it answers
    own = address.split("#")[0]
    outside = [each for each in page.requests if each.split("#")[0] != own]
    assert [each for each in outside if not each.startswith("data:")] == []
    assert page.requests
    assert page.errors == []


def visible(page: Page, selector: str) -> list[str]:
    """Return the text of the elements that are shown."""
    found = page.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})]"
        ".filter(e => e.checkVisibility()).map(e => e.innerText.trim())"
    )
    return list(found)


def embedded(page: Page) -> dict:
    """Return the record that the page holds."""
    return dict(json.loads(page.evaluate("document.getElementById('record').textContent")))


def test_clicking_through_the_profiles_shows_the_figures_of_the_record(page, tmp_path):
    address = save(record(), tmp_path)
    page.size(*DESK)
    page.open(address)
    whole = embedded(page)
    assert whole == record()
    names = [profile["name"] for profile in whole["profiles"]]
    assert visible(page, "[data-profile]") == names
    assert visible(page, "article [data-figure=total]") == [cells.labelled(whole["profiles"][0])]
    for profile in (whole["profiles"][1], whole["profiles"][0]):
        page.click(f"[data-profile='{profile['name']}']")
        page.wait(f"!document.querySelector(\"[data-of='{profile['name']}']\").hidden")
        check_profile(page, whole, profile)
        assert page.evaluate("location.hash") == f"#{profile['name']}"
    check_quiet(page, address)


def test_what_was_measured_has_counters_for_layers(page, tmp_path):
    whole = record(baselines=[], training=None)
    counted = [{"name": "intel-rapl:0 package-0", "pj": whole["profiles"][0]["total_pj"]}]
    whole["profiles"][1] |= {"name": "measured", "kind": "measured", "kinds": ["measured"],
                             "family": "measured", "with_memory_pj": None, "layers": [],
                             "terms": counted, "sensitivity": [],
                             "measurement": {"intervals": 5}}  # fmt: skip
    address = save(whole, tmp_path) + "#measured"
    page.open(address)
    headings = visible(page, "article h2, article h3")
    assert headings == ["measured", "Energy by counter (estimate, measured)"]
    names = visible(page, "[data-term] > span:first-child")
    assert names == ["intel-rapl:0 package-0"]
    assert visible(page, "[data-figure=total]") == [cells.labelled(whole["profiles"][1])]
    page.click("[data-profile='fine']")
    assert "Energy by layer (estimate, simulated)" in visible(page, "article h2")
    check_quiet(page, address)


def check_profile(page: Page, whole: dict, profile: dict) -> None:
    """Compare what is shown of a profile with its record."""
    pressed = "[data-profile][aria-pressed=true]"
    assert visible(page, pressed) == [profile["name"]]
    assert visible(page, "[data-figure=total]") == [cells.labelled(profile)]
    assert visible(page, "section > [data-figure=band]") == [
        f"5 to 95 %: {cells.band(profile['total_pj'])}"
    ]
    for kind, rows in (("layer", profile["layers"]), ("term", profile["terms"])):
        of_value = f"[data-{kind}] [data-figure=value]"
        of_band = f"[data-{kind}] [data-figure=band]"
        assert visible(page, of_value) == [cells.joules(row["pj"]["value"]) for row in rows]
        assert visible(page, of_band) == [cells.band(row["pj"]) for row in rows]
    own = [next(p for p in b["profiles"] if p["name"] == profile["name"])
           for b in whole["baselines"]]  # fmt: skip
    priced = [cells.labelled(each) for each in own if each["total_pj"] is not None]
    shown = visible(page, "[data-baseline] [data-figure=value]")
    assert shown == [cells.labelled(profile), *priced]
    swings = [f"{cells.joules(row['low_pj'])} to {cells.joules(row['high_pj'])}"
              for row in profile["sensitivity"]]  # fmt: skip
    assert visible(page, "[data-constant] [data-figure=value]") == swings


def test_bars_are_as_long_as_the_figures_say(page, tmp_path):
    page.size(*DESK)
    page.open(save(record(), tmp_path))
    layers = record()["profiles"][0]["layers"]
    longest = max(row["pj"]["high"] for row in layers)
    shares = page.evaluate(
        "[...document.querySelectorAll('article:not([hidden]) [data-layer] .bar')].map(bar => "
        "bar.querySelector('i').getBoundingClientRect().width / bar.getBoundingClientRect().width)"
    )
    assert shares == pytest.approx([row["pj"]["value"] / longest for row in layers], abs=2e-3)


def test_an_address_with_a_profile_opens_it(page, tmp_path):
    address = save(record(), tmp_path) + "#coarse"
    page.open(address)
    assert visible(page, "[data-profile][aria-pressed=true]") == ["coarse"]
    check_quiet(page, address)


def test_sources_are_copied_or_marked_to_be_copied(page, tmp_path):
    address = save(record(), tmp_path)
    page.open(address)
    page.click("#copy")
    page.wait("document.getElementById('copied').textContent !== ''")
    assert page.evaluate("getSelection().toString()").strip().startswith("@misc{fine2014,")
    check_quiet(page, address)


@pytest.mark.parametrize("whole", [record(), comparison()], ids=["report", "comparison"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(page, tmp_path, whole, scheme):
    address = save(whole, tmp_path)
    page.size(*PHONE, mobile=True)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.send("Emulation.setEmulatedMedia", features=features)
    page.open(address)
    for name in [profile["name"] for profile in whole["profiles"]] if "layers" in whole else [None]:
        if name is not None:
            page.click(f"[data-profile='{name}']")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        # beside what scrolls within itself, nothing sticks out
        assert page.evaluate(
            "[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, pre') && "
            "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"
        ) == []  # fmt: skip
    small = page.evaluate(
        "[...document.querySelectorAll('button')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(small) >= 40
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(dark.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
    check_quiet(page, address)


def test_without_scripts_every_profile_is_shown(page, tmp_path):
    address = save(record(), tmp_path)
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.send("Page.navigate", url=address)
    page.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
    totals = [cells.labelled(profile) for profile in record()["profiles"]]
    assert visible(page, "[data-figure=total]") == totals


def test_the_check_sees_an_error_and_a_request(page, tmp_path):
    file = tmp_path / "bad.html"
    file.write_text(
        "<script>console.error('x')</script><script>throw Error()</script>"
        "<img src='http://127.0.0.1:9/x'>"
    )
    page.open(file.as_uri())
    with pytest.raises(AssertionError, match=r"127\.0\.0\.1:9"):
        check_quiet(page, file.as_uri())
    assert len(page.errors) >= 2
