"""A whole run: make or open its folder, train, evaluate, draw, and sum up."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neuro.config import AnyConfig, TrainConfig
from neuro.data import load_dataset
from neuro.errors import DivergedError, NeuroError, UsageError
from neuro.graph import load_graph, load_own_graph
from neuro.training.checkpoint import Checkpoint, load_checkpoint
from neuro.training.classification import ClassificationSession
from neuro.training.environment import computing, describe_environment
from neuro.training.interrupts import StopSignals, TrainingInterrupted
from neuro.training.loop import save_start, train_epochs
from neuro.training.memory import reset_peak_memory
from neuro.training.metrics import MetricsLog, read_metrics
from neuro.training.progress import Progress
from neuro.training.reasoning import ReasoningSession
from neuro.training.run_directory import RunDirectory
from neuro.training.session import Session, Tested, choose_device
from neuro.training.summary import RunSummary


def train(
    config: AnyConfig,
    *,
    run_dir: Path | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> RunSummary:
    """Train a new run from its first batch to its summary.

    Args:
        config: everything that decides the result.
        run_dir: new or empty folder; None makes one under ``runs/``.
        data_dir: where the data lie; None is the download folder.
        download: whether missing data may be downloaded.
        progress: who is told how it goes; None is nobody.

    Raises:
        UsageError: the folder is taken, or settings do not fit the data.
        DataError: the data are missing or damaged.
        DivergedError: NaN or infinity appeared.
        TrainingInterrupted: SIGINT or SIGTERM came; the run can be resumed.
    """
    device = choose_device(config.device)
    run = RunDirectory.create(run_dir, config)
    with _recorded(run):
        environment = describe_environment(device)
        environment["data_dir"] = None if data_dir is None else str(data_dir.resolve())
        run.write_json("environment.json", environment)
        work = _Work(
            run, config, device, config.threads, data_dir, download, progress or Progress()
        )
        return _carry_out(work, None)


def resume(
    run_dir: Path,
    *,
    checkpoint: str = "last",
    config: AnyConfig | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> RunSummary:
    """Continue a stopped run to the weights it would have had without the stop, bit for bit.

    Args:
        run_dir: the folder of the run. A finished run gives its summary back.
        checkpoint: where to continue from, ``last`` or another that is there.
        config: the run's configuration with changes that leave the weights alone (see
            ``neuro.config.resume_config``); None is as it was.
        data_dir: where the data lie now; None is where they lay.
        download, progress: as for :func:`train`.

    Raises:
        CheckpointError: the folder is no run, or the checkpoint is missing or damaged.
    """
    progress = progress or Progress()
    run = RunDirectory.open(run_dir)
    saved_config = run.config()
    config = config or saved_config
    if config.fingerprint() != saved_config.fingerprint():
        raise UsageError(f"Run {run_dir} was made with another configuration; start a new run.")
    if run.state() == "finished" and checkpoint == "last":
        progress.note(f"Run {run_dir} is finished.")
        return RunSummary.from_json(run.read_json("summary.json"))
    device = choose_device(config.device)
    run.lock()
    with _recorded(run):
        start = _starting_point(run, checkpoint, config, progress)
        before = _compare_environments(run, device, progress)
        if data_dir is None and before.get("data_dir"):
            data_dir = Path(before["data_dir"])
        threads = config.threads or before["threads"]  # sums split among threads round otherwise
        work = _Work(run, config, device, threads, data_dir, download, progress)
        return _carry_out(work, start)


def load_run(
    run_dir: Path,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    download: bool = True,
) -> tuple[RunDirectory, Session]:
    """Open a run and build its network, untrained; its data set may be replaced by another.

    Raises:
        CheckpointError: the folder is no run.
        UsageError: the data set's inputs or classes do not fit the network.
    """
    started = time.perf_counter()
    run = RunDirectory.open(run_dir)
    config = run.config()
    if data_dir is None and (run.path / "environment.json").is_file():
        recorded = run.read_json("environment.json").get("data_dir")
        data_dir = Path(recorded) if recorded and dataset is None else None
    device = choose_device(config.device)
    reset_peak_memory(device)
    session = open_session(
        config, device, dataset=dataset, data_dir=data_dir, download=download, started=started
    )
    return run, session


def load_reasoner(
    run_dir: Path, *, checkpoint: str = "last", data_dir: Path | None = None
) -> tuple[RunDirectory, ReasoningSession]:
    """Open a run of graph reasoning at a checkpoint, to be asked.

    Raises:
        CheckpointError: the folder is no run, or the checkpoint is missing or damaged.
        UsageError: the run trained a classifier.
    """
    run, session = load_run(run_dir, data_dir=data_dir)
    if not isinstance(session, ReasoningSession):
        raise UsageError(
            f"Run {run_dir} trained {session.config.method_name}, a classifier: `neuro reason` "
            "asks runs of grsnn, grsnn+ or nbfnet."
        )
    session.restore_weights(run.load_checkpoint(checkpoint))
    session.model.eval()
    return run, session


def open_session(
    config: AnyConfig,
    device: torch.device,
    *,
    dataset: str | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    started: float,
) -> Session:
    """Load the data of a configuration and build what it trains, untrained.

    Args:
        config: the configuration.
        device: where to train.
        dataset: another data set in place of the configuration's own.
        data_dir: where the data lie; None is the download folder.
        download: whether missing data may be downloaded; graphs never are.
        started: ``time.perf_counter()`` when the work began.

    Raises:
        UsageError: settings do not fit the data, or another graph is asked for.
        DataError: the data are missing or damaged.
    """
    if not isinstance(config, TrainConfig):
        if dataset not in (None, config.dataset):
            raise UsageError(
                f"A run on a graph is evaluated on that graph, {config.dataset_name}: the numbers "
                "of its relations and what is known of it belong to it."
            )
        graph = load_own_graph(config.graph) if config.graph else None
        task = graph or load_graph(str(config.dataset), data_dir)
        return ReasoningSession(config, task, device, started=started)
    own = dataset is None or dataset == config.dataset
    data = load_dataset(
        config.dataset if own else str(dataset),
        data_dir=data_dir,
        timesteps=config.timesteps,
        download=download,
        **(config.dataset_options if own else {}),
    )
    return ClassificationSession(config, data, device, started=started)


def evaluate_run(
    run_dir: Path,
    *,
    checkpoint: str = "last",
    dataset: str | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    events: bool = False,
) -> RunSummary:
    """Evaluate a checkpoint of a run on the test set.

    Args:
        run_dir: the folder of the run.
        checkpoint: ``last``, ``best`` or another that is there.
        dataset: another data set with inputs of the same shape; None is the run's own.
        data_dir: where the data lie; None is where they lay.
        download: whether missing data may be downloaded.
        events: take currents from spike events where few neurons fire.
    """
    run, session = load_run(run_dir, dataset=dataset, data_dir=data_dir, download=download)
    config = session.config
    if events and not isinstance(session, ClassificationSession):
        raise UsageError("Spike events serve the synapses of classifiers, not messages of a graph.")
    moment = run.load_checkpoint(checkpoint)
    session.restore_weights(moment)
    with computing(
        session.device,
        seed=config.seed,
        deterministic=config.deterministic,
        threads=config.threads,
    ):
        found = session.test(events=events)
    epochs = int(moment.state["position"]["epoch"]) - 1
    return _summary(run_dir, session, found, {**found.metrics, "epochs": epochs}, dataset)


@dataclass(frozen=True)
class _Work:
    run: RunDirectory
    config: AnyConfig
    device: torch.device
    threads: int | None
    data_dir: Path | None
    download: bool
    progress: Progress


def _carry_out(work: _Work, start: Checkpoint | None) -> RunSummary:
    started = time.perf_counter()
    run, config, device = work.run, work.config, work.device
    reset_peak_memory(device)
    with (
        StopSignals() as stop,
        computing(
            device,
            seed=config.seed,
            deterministic=config.deterministic,
            threads=work.threads,
        ),
    ):
        session = open_session(
            config, device, data_dir=work.data_dir, download=work.download, started=started
        )
        session.fingerprint = run.fingerprint()
        for note in session.notes if start is None else ():
            work.progress.note(f"Note: {note}")
        if start is not None:
            session.restore(start)
        log = MetricsLog(
            run.metrics,
            run.tensorboard if config.tensorboard else None,
            offset=int(start.state["metrics_offset"]) if start else 0,
            purge_step=session.position.step + 1 if start else None,
        )
        try:
            # afresh even when resumed: it may be from another checkpoint, with "last" damaged
            save_start(session, run, log)
            train_epochs(session, run, log, work.progress, stop)
        finally:
            log.close()
        return _sum_up(run, session)


def _sum_up(run: RunDirectory, session: Session) -> RunSummary:
    config = session.config
    epochs = read_metrics(run.metrics, "epoch")
    last = session.test()
    if config.plots:
        session.draw(epochs, run.plots)
    best: Tested | None = None
    if session.best.epoch == config.epochs:
        best = last
    elif session.best.epoch > 0:
        moment = run.load_checkpoint("best")
        session.restore_weights(moment)
        best = session.test()
    spent = session.clock()
    metrics = {
        **session.summarise(last, best, epochs),
        "epochs": config.epochs,
        "seed": config.seed,
        "parameters": session.parameters,
        "training_seconds": round(spent.training_seconds, 3),
        "samples_per_second": round(spent.trained_samples / spent.training_seconds, 1),
    }
    summary = _summary(run.path, session, last, metrics)
    run.write_json("summary.json", summary.to_json())
    return summary


def _summary(
    run: Path,
    session: Session,
    found: Tested,
    metrics: dict[str, float | int | None],
    dataset: str | None = None,
) -> RunSummary:
    config, spent = session.config, session.clock()
    return RunSummary(
        run=str(run),
        method=config.method_name,
        dataset=dataset or config.dataset_name,
        model=config.model_name,
        metrics=metrics,
        firing_rates=found.firing_rates,
        seconds=spent.seconds,
        peak_memory_mb=spent.peak_memory_mb,
    )


def _starting_point(
    run: RunDirectory, checkpoint: str, config: AnyConfig, progress: Progress
) -> Checkpoint | None:
    """The checkpoint to continue from; None if the run was stopped before it saved its first."""
    untouched = not run.metrics.exists() or run.metrics.stat().st_size == 0
    if not run.checkpoints.exists() and untouched and checkpoint == "last":
        progress.note("The run had saved nothing yet: it starts from the beginning.")
        return None
    found = run.load_checkpoint(checkpoint)
    position = found.state["position"]
    progress.note(
        f"Continuing {run.path} in epoch {position['epoch']} of {config.epochs}, "
        f"after step {position['step']}."
    )
    return found


def _compare_environments(
    run: RunDirectory, device: torch.device, progress: Progress
) -> dict[str, Any]:
    """Note what differs from the environment the run began in, record the present one too."""
    now = describe_environment(device)
    if not (run.path / "environment.json").is_file():
        run.write_json("environment.json", now)
        return now
    before = run.read_json("environment.json")
    for key in ("neuro", "git_commit", "python", "packages", "platform", "cpu", "device", "gpu"):
        if before.get(key) != now[key]:
            progress.note(
                f"Note: {key} was {before.get(key)}, is {now[key]}; the weights may differ in bits "
                "from those of an uninterrupted run."
            )
    before["resumed"] = [*before.get("resumed", []), now]
    run.write_json("environment.json", before)
    return before


@contextlib.contextmanager
def _recorded(run: RunDirectory) -> Iterator[None]:
    """Write into the run how it went, and say how to go on; unlock it in the end."""
    again = f"neuro train --resume {run.path}"
    try:
        run.set_state("running")
        yield
        run.set_state("finished")
    except TrainingInterrupted as error:
        run.set_state("interrupted", str(error))
        raise TrainingInterrupted(
            f"{error} Continue with: {again}", error.exit_code - 128
        ) from None
    except KeyboardInterrupt:
        run.set_state("interrupted", "KeyboardInterrupt")
        raise
    except DivergedError as error:
        run.set_state("diverged", str(error))
        step = load_checkpoint(run.checkpoints, "last").step
        raise DivergedError(
            f"{error} The last good checkpoint is {run.checkpoints / 'last.json'} (step {step})."
        ) from None
    except torch.OutOfMemoryError as error:
        run.set_state("failed", "out of GPU memory")
        raise NeuroError(
            "The GPU has too little memory for this batch. Lower batch_size or "
            f"evaluation_batch_size. ({str(error).splitlines()[0]})"
        ) from error
    except OSError as error:
        with contextlib.suppress(OSError):  # the disk that is full cannot take the state either
            run.set_state("failed", str(error))
        raise NeuroError(
            f"Run {run.path} stopped: {error.strerror or error} "
            f"({error.filename or 'a file of the run'}). Once that is mended: {again}"
        ) from error
    except BaseException as error:
        with contextlib.suppress(OSError):
            run.set_state("failed", f"{type(error).__name__}: {error}")
        if isinstance(error, RuntimeError) and "deterministic" in str(error):
            raise NeuroError(
                "This network needs an algorithm that torch has in no deterministic form on this "
                f"device. Use --set deterministic=false. ({str(error).splitlines()[0]})"
            ) from error
        raise
    finally:
        run.unlock()
