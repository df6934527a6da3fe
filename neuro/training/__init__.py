"""Training, resuming and evaluating runs."""

from neuro.training.interrupts import TrainingInterrupted
from neuro.training.run import evaluate_run, load_reasoner, load_run, resume, train
from neuro.training.run_directory import RunDirectory, find_runs
from neuro.training.summary import RunSummary

__all__ = [
    "RunDirectory",
    "RunSummary",
    "TrainingInterrupted",
    "evaluate_run",
    "find_runs",
    "load_reasoner",
    "load_run",
    "resume",
    "train",
]
