"""``neuro evaluate``: a checkpoint of a run on the test set."""

from pathlib import Path

from neuro.cli.output import print_json, print_summary


def evaluate(
    run: Path,
    /,
    *,
    checkpoint: str = "last",
    dataset: str | None = None,
    data_dir: Path | None = None,
    no_download: bool = False,
    events: bool = False,
    json: bool = False,
) -> None:
    """Evaluate a checkpoint of a run on the test set, without noise.

    Parameters
    ----------
    run
        Folder of the run.
    checkpoint
        last, best, or another that is there.
    dataset
        Another data set with inputs of the same shape; default the run's own.
    data_dir
        Folder with the data; default where the run found them.
    no_download
        Fail where data would have to be downloaded.
    events
        Take currents from spike events where few neurons fire: faster there, rounded otherwise.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.training import evaluate_run

    summary = evaluate_run(
        run,
        checkpoint=checkpoint,
        dataset=dataset,
        data_dir=data_dir,
        download=not no_download,
        events=events,
    )
    if json:
        print_json(summary.to_json())
    else:
        print_summary(summary)
