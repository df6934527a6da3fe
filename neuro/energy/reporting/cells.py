"""How figures stand in cells: rounded, with a unit, a kind and a band."""

from neuro.energy.pricing.account import significant
from neuro.energy.reporting.document import Record


def is_measured(profile: Record) -> bool:
    """Whether a total was read from counters while the network ran."""
    return profile.get("measurement") is not None


def labelled(priced: Record) -> str:
    """Write a total with what it is: an estimate, and of which kind."""
    if priced["total_pj"] is None:
        return "no price"
    if not priced["kind"]:
        return "nothing of it is priced"
    return f"{joules(priced['total_pj']['value'])} (estimate, {priced['kind']})"


def with_memory(profile: Record) -> str:
    """Write a total that holds the memory model, too; nothing where there is none."""
    pj = profile["with_memory_pj"]
    return "" if pj is None else labelled({"total_pj": pj, "kind": profile["kind"]})


def total_band(priced: Record) -> str:
    """Write the band of a total; a dash where nothing has a price.

    Where no source gives bounds, ends that are the value would look like certainty.
    """
    total = priced["total_pj"]
    if not priced["kind"]:
        return "-"
    if total["low"] == total["high"] and not is_measured(priced):
        return "no bounds published"
    return band(total)


def band(pj: Record) -> str:
    """Write the ends of a total's band."""
    return f"{joules(pj['low'])} to {joules(pj['high'])}"


def joules(pj: float) -> str:
    """Write picojoules with two significant digits and a unit."""
    return significant(pj * 1e-12)


def two_digits(value: float) -> str:
    """Write a number with two significant digits and no exponent."""
    return f"{float(f'{value:.2g}'):.15g}"


def number(value: float | None) -> str:
    """Write a count: whole from a hundred on, three digits below."""
    if value is None:
        return "-"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(share: float | None) -> str:
    """Write a share with two significant digits, or three from 10 % on."""
    if share is None:
        return "-"
    return f"{100 * share:.{3 if share >= 0.1 else 2}g} %"


def quality(measure: str | None, value: float | None) -> str:
    """Write how well a model does."""
    if value is None:
        return "unknown"
    return f"{value:.2%}" if measure == "accuracy" else f"{value:.4f}"


def shown(value: object) -> str:
    """Write a word, or a dash where there is none."""
    return "-" if value is None or value == "" else str(value)


def ratio(found: Record | None) -> str:
    """Write a ratio with its band; a dash where there is none."""
    if found is None:
        return "-"
    value, low, high = (two_digits(found[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
