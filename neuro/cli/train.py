"""``neuro train``: one run, from a rule's name to a summary."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from neuro.cli.output import describe, print_json, print_summary
from neuro.errors import UsageError


def train(
    rule: str | None = None,
    /,
    *,
    dataset: str | None = None,
    graph: str | None = None,
    model: str | None = None,
    timesteps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    optimizer: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    local_learning: bool = False,
    config: str | None = None,
    assignments: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    run_dir: Path | None = None,
    data_dir: Path | None = None,
    resume: Path | None = None,
    checkpoint: str | None = None,
    no_download: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Train a classifier with a learning rule, or a model that reasons over a graph.

    Without options a rule trains on the embedded digits, a method of graph reasoning on the
    embedded facts of UMLS. Settings come from, later winning: defaults, the preset of the data
    set, --config, options, --set.

    Parameters
    ----------
    rule
        Learning rule (bptt, ottt, dfa, dkp, zo or opzo), or method of graph reasoning (grsnn,
        grsnn+ or nbfnet).
    dataset
        Data set, see `neuro datasets`.
    graph
        Graph of your own in its place: a folder of train.txt, valid.txt and test.txt, lines of
        head, relation and tail between tabs.
    model
        Architecture, see `neuro models`; a method of graph reasoning is its own.
    timesteps
        Steps per sample (frames, for event data), or of grsnn's spikes.
    epochs
        Passes over the training samples.
    batch_size
        Samples per optimiser step.
    lr
        Learning rate at the start.
    optimizer
        adam, adamw or sgd.
    seed
        Origin of every random number of the run.
    device
        auto, cpu, cuda or cuda:N.
    local_learning
        Give every hidden layer a local read-out whose loss adds to its credit.
    config
        TOML file, config.json of a run, or name of a preset.
    assignments
        Any setting as key=value in TOML, e.g. --set rule.alpha=0.1; may be repeated.
    run_dir
        New folder for the run; default runs/<date>-<method>-<dataset>-<model>-s<seed>.
    data_dir
        Folder with the data; default the download folder.
    resume
        Continue this run; settings that decide its weights cannot change.
    checkpoint
        With --resume: continue from this checkpoint, default last.
    no_download
        Fail where data would have to be downloaded.
    quiet
        No progress on stderr.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.training.memory import tune_malloc

    tune_malloc()
    from neuro.config import resolve_config, resume_config
    from neuro.config.kinds import REASONING, kind_of
    from neuro.training import RunDirectory
    from neuro.training import resume as resume_run
    from neuro.training import train as train_run
    from neuro.training.progress import terminal_progress

    given: dict[str, Any] = {
        "dataset": dataset,
        "graph": graph,
        "model": model,
        "timesteps": timesteps,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "seed": seed,
        "device": device,
        "rule": {"local_learning": True} if local_learning else None,
    }
    flags = {key: value for key, value in given.items() if value is not None}
    if rule is not None and kind_of(rule) is REASONING and "timesteps" in flags:
        flags["method"] = {"timesteps": flags.pop("timesteps")}  # the network's, not the data's
    progress = terminal_progress(quiet)
    if resume is not None:
        _refuse({"RULE": rule, "--config": config, "--run-dir": run_dir}, "--resume")
        saved = RunDirectory.open(resume).config()
        summary = resume_run(
            resume,
            checkpoint=checkpoint or "last",
            config=resume_config(saved, flags=flags, assignments=assignments),
            data_dir=data_dir,
            download=not no_download,
            progress=progress,
        )
    else:
        if checkpoint is not None:
            raise UsageError("--checkpoint says where to --resume a run from; name the run too.")
        loaded = resolve_config(rule, source=config, flags=flags, assignments=assignments)
        chosen = loaded.config
        origin = f"preset {loaded.preset}" if loaded.preset else "defaults"
        progress.note(
            f"{describe(chosen.method_name, chosen.dataset_name, chosen.model_name)} "
            f"({origin}; seed {chosen.seed})"
        )
        for note in loaded.notes:
            progress.note(f"Note: {note}.")
        summary = train_run(
            chosen,
            run_dir=run_dir,
            data_dir=data_dir,
            download=not no_download,
            progress=progress,
        )
    if json:
        print_json(summary.to_json())
    else:
        print_summary(summary)


def _refuse(given: dict[str, Any], beside: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} cannot be given with {beside}: the run has its own.")
