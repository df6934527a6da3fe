"""``neuro energy``: what a trained network costs, where, on which hardware, and how surely."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from neuro.errors import UsageError

if TYPE_CHECKING:
    from neuro.energy import Report
    from neuro.energy.reporting.report import Form


def energy(
    run: Path,
    /,
    *,
    profile: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    html: bool = False,
    md: bool = False,
    latex: bool = False,
    json: bool = False,
    output: Path | None = None,
    samples: int | None = None,
    per_step: bool = False,
    baselines: bool = False,
    baseline_lr: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    checkpoint: str | None = None,
    mixed_kinds: bool = False,
    data_dir: Path | None = None,
    no_download: bool = False,
) -> None:
    """Count a network's operations on its test set and estimate its energy, with a band, beside
    fair networks without spikes.

    Parameters
    ----------
    run
        Folder of a run, or of an export of integers.
    profile
        Hardware profiles by name, or TOML files of your own (a path with / or .toml); several may
        follow. "measured" runs the network for some seconds and reads this machine's counters
        (RAPL, NVML). Default horowitz45-fp32 and loihi1.
    html
        Write one page that needs no network; to RUN/energy.html, unless --output names a file.
    md
        Print Markdown.
    latex
        Print LaTeX.
    json
        Print exactly one JSON object on stdout.
    output
        Write to this file; without one of the forms above, by its ending: .html, .md, .tex, .json
        or else text.
    samples
        Test samples to count; default 512, 100 queries of a graph reasoner, all of an export.
    per_step
        With --json: the counts of each time step, too.
    baselines
        Train the networks without spikes that were not trained yet, to know their accuracy. Each
        chooses its learning rate on the run's validation samples.
    baseline_lr
        With --baselines: the learning rate in place of a chosen one, as 0.001 for all, or by name
        as ann-fp32=0.001 qnn=0.0003; those not named choose theirs.
    checkpoint
        last, best, or another that is there; default last.
    mixed_kinds
        Let measured and simulated energies stand in one column.
    data_dir
        Folder with the data; default where the run found them.
    no_download
        Fail where data would have to be downloaded.
    """
    form = one_form(output, html=html, md=md, latex=latex, json=json)
    if per_step and form != "json":
        raise UsageError("--per-step is told by --json alone; give it, too.")
    from neuro.energy.reporting.report import DEFAULT_PROFILES
    from neuro.reports import CountOptions, energy_report

    report = energy_report(
        run,
        read_names(profile) or DEFAULT_PROFILES,
        options=CountOptions(
            checkpoint=checkpoint,
            samples=samples,
            per_step=per_step,
            data_dir=data_dir,
            download=not no_download,
        ),
        train=baselines,
        baseline_lr=read_rates(baseline_lr),
        allow_mixed_kinds=mixed_kinds,
    )
    deliver(report, form, output, run / "energy.html")


def deliver(report: "Report", form: "Form", output: Path | None, page: Path) -> None:
    """Write a report where it was asked for.

    Args:
        report: what to write.
        form: how. JSON is printed, whether or not it goes to a file as well.
        output: the file; None prints.
        page: where HTML goes in that case: nobody reads it on a terminal.
    """
    if form == "html" and output is None:
        output = page
    if output is not None:
        report.save(output, form)
    if output is None or form == "json":
        print(report.write(form), end="")
    else:
        print(f"Report: {output}")


def read_names(profiles: Sequence[str]) -> list[str | Path]:
    """Tell own profiles, which are paths, from those that come with the package."""
    return [Path(each) if "/" in each or each.endswith(".toml") else each for each in profiles]


def read_rates(words: Sequence[str]) -> float | dict[str, float] | None:
    """Read learning rates: none, one for all, or one by name.

    Raises:
        UsageError: they are neither.
    """
    if not words:
        return None
    pairs = [word.rpartition("=") for word in words]
    names = [name for name, _, _ in pairs]
    try:
        rates = [float(rate) for _, _, rate in pairs]
    except ValueError:
        rates = []
    if rates and names == [""]:
        return rates[0]
    if rates and all(names) and len(set(names)) == len(names):
        return dict(zip(names, rates, strict=True))
    raise UsageError(
        "--baseline-lr takes one learning rate, as 0.001, or one by name, as ann-fp32=0.001 "
        f"qnn=0.0003; got {' '.join(words)}."
    )


def one_form(output: Path | None, *, html: bool, md: bool, latex: bool, json: bool) -> "Form":
    """Return the one form that was asked for, by name or by the ending of a file; else text.

    Raises:
        UsageError: several were.
    """
    given: dict[Form, bool] = {"html": html, "md": md, "latex": latex, "json": json}
    asked = [form for form, wanted in given.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"Choose one of {' and '.join(f'--{form}' for form in asked)}.")
    if asked:
        return asked[0]
    from neuro.energy.reporting.report import ENDINGS

    return "text" if output is None else ENDINGS.get(output.suffix.removeprefix("."), "text")
