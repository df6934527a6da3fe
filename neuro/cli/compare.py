"""``neuro compare``: runs side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from neuro.cli.energy import deliver, one_form, read_names


def compare(
    *runs: Path,
    profile: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    html: bool = False,
    md: bool = False,
    latex: bool = False,
    json: bool = False,
    output: Path | None = None,
    samples: int | None = None,
    clock: bool = False,
    checkpoint: str | None = None,
    mixed_kinds: bool = False,
    data_dir: Path | None = None,
    no_download: bool = False,
) -> None:
    """Put runs, or exports, side by side: accuracy, parameters, operations, energy and latency.

    Parameters
    ----------
    runs
        Folders of runs or of exports of integers, two or more.
    profile
        Hardware profiles by name, TOML files of your own, or "measured" on this machine; several
        may follow, as in `neuro energy`.
    html
        Write one page that needs no network; to energy.html, unless --output names a file.
    md
        Print Markdown.
    latex
        Print LaTeX.
    json
        Print exactly one JSON object on stdout.
    output
        Write to this file; without one of the forms above, by its ending, as in `neuro energy`.
    samples
        Test samples to count of each; default 512, 100 queries of a graph reasoner, all of an
        export.
    clock
        Also measure, here and now, the seconds that one sample takes.
    checkpoint
        last, best, or another that is there; default last.
    mixed_kinds
        Let measured and simulated energies stand in one column.
    data_dir
        Folder with the data; default where the runs found them.
    no_download
        Fail where data would have to be downloaded.
    """
    form = one_form(output, html=html, md=md, latex=latex, json=json)
    from neuro.energy.reporting.report import DEFAULT_PROFILES
    from neuro.reports import CountOptions, compare_runs

    report = compare_runs(
        runs,
        read_names(profile) or DEFAULT_PROFILES,
        options=CountOptions(
            checkpoint=checkpoint,
            samples=samples,
            data_dir=data_dir,
            download=not no_download,
        ),
        clock=clock,
        allow_mixed_kinds=mixed_kinds,
    )
    deliver(report, form, output, Path("energy.html"))
