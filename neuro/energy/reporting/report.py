"""What a model costs, told to people and programs."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neuro.energy.counting.network import NetworkCounter
from neuro.energy.counts import Ledger
from neuro.energy.operators.dispatch import count_module
from neuro.energy.pricing.machine import Machine, Measurement
from neuro.energy.reporting.comparison import comparison
from neuro.energy.reporting.record import (
    SCHEMA,
    Baseline,
    Pricing,
    Subject,
    machine_among,
    make_record,
    open_profiles,
)
from neuro.energy.reporting.render_html import html
from neuro.energy.reporting.render_text import latex, markdown, text
from neuro.energy.reporting.tables import document
from neuro.errors import DataError, NeuroError, UsageError, nearest
from neuro.layers import Network

DEFAULT_PROFILES = ("horowitz45-fp32", "loihi1")
"""Neither measured, so they may stand side by side; both price any network of spikes."""

Form = Literal["text", "html", "md", "latex", "json"]
Steps = Tensor | Sequence[Tensor]


@dataclass(frozen=True)
class Report:
    """Counts, estimates with their bands, baselines and sources, in one record.

    Attributes:
        record: plain values, as ``--json`` prints them; ``docs/json-output.md`` names the keys.
    """

    record: Mapping[str, Any]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Report":
        """Undo :meth:`to_json`.

        Raises:
            DataError: it is of another version.
        """
        if record.get("schema") != SCHEMA:
            raise DataError(
                f"The report has schema {record.get('schema')!r}; this neuro reads {SCHEMA}."
            )
        return cls(record)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the version of the layout."""
        return dict(self.record)

    def text(self) -> str:
        """Return tables for a terminal."""
        return text(self._document())

    def markdown(self) -> str:
        """Return the same tables as Markdown."""
        return markdown(self._document())

    def latex(self) -> str:
        """Return the same tables as LaTeX."""
        return latex(self._document())

    def html(self) -> str:
        """Return one page that needs nothing else, with a choice of profile and the record."""
        return html(self.record, self._document())

    def write(self, form: str) -> str:
        """Return the report as ``text``, ``md``, ``latex``, ``html`` or ``json``."""
        if form == "json":
            return json.dumps(self.record, indent=2, allow_nan=False) + "\n"
        written: str = {
            "text": self.text,
            "md": self.markdown,
            "latex": self.latex,
            "html": self.html,
        }[form]()
        return written

    def save(self, path: Path | str, form: str | None = None) -> None:
        """Write the report to a file, whole or not at all.

        Args:
            path: the file.
            form: as for :meth:`write`; None goes by the ending: txt, md, tex, html or json.

        Raises:
            UsageError: an unknown ending, or a place that cannot be written.
        """
        path = Path(path)
        if form is None:
            ending = path.suffix.removeprefix(".")
            if ending not in ENDINGS:
                raise UsageError(
                    f"{path}: a report is written as .{', .'.join(ENDINGS)}."
                    f"{nearest(ending, ENDINGS)}"
                )
            form = ENDINGS[ending]
        _write(path, self.write(form))

    def _document(self) -> Any:
        return (comparison if "runs" in self.record else document)(self.record)


ENDINGS: Mapping[str, Form] = {
    "txt": "text",
    "md": "md",
    "tex": "latex",
    "html": "html",
    "json": "json",
}


def report(
    model: nn.Module,
    loader: Iterable[tuple[Any, Tensor | None]],
    profiles: str | Sequence[str | Path | Pricing] = DEFAULT_PROFILES,
    *,
    signals: Any = None,
    name: str = "",
    baselines: Mapping[str, nn.Module] | None = None,
    allow_mixed_kinds: bool = False,
) -> Report:
    """Count what a model does with samples, and price it.

    Args:
        model: a :class:`neuro.layers.Network`, or any other module.
        loader: batches ``(inputs, targets)``. Of a network, ``inputs`` is what it gets at each
            step: a tensor ``[T, B, *input_shape]``, or a sequence of T tensors
            ``[B, *input_shape]`` (one tensor T times is a constant current). Of another module, its
            input ``[B, ...]``, or a tuple of its arguments, the first of which is ``[B, ...]``.
            ``targets`` is ``[B]``, the classes, or None: then no accuracy is told.
        profiles: names of hardware profiles, paths of own ones, or profiles; "measured" runs the
            model over all batches for some seconds and reads this machine's counters.
        signals: what is not real. Of a network, what its input is: ``binary``, ``ternary``,
            ``graded`` or ``real``; of another module as for
            :func:`neuro.energy.operators.dispatch.count_module`. It is checked, never guessed.
        name: the model's, default that of its class.
        baselines: modules beside a module, or networks beside a network, by name, on the same
            inputs, which are real to them.
        allow_mixed_kinds: let measured and simulated prices stand in one column.

    Raises:
        UsageError: an unknown profile, a machine without counters, an operation that has no rule of
            counting, inputs that are not what ``signals`` says, batches that are not as above, or
            no batch at all.
        DataError: a profile that lacks a number, a unit or a source.
    """
    priced = open_profiles(profiles, allow_mixed_kinds=allow_mixed_kinds)
    machine = machine_among(priced)
    if machine is not None:
        machine.check(_device_of(model))
        loader = list(loader)
    own = _Watched(model, signals)
    others = [_Watched(each, None) for each in (baselines or {}).values()]
    for batch in loader:
        inputs, targets = _pair(batch)
        for each in (own, *others):
            each.see(inputs, targets)
    if not own.ledgers:
        raise UsageError("report: the loader gave no batch to count.")
    subject = Subject(
        what={"run": name or type(model).__name__, "model": type(model).__name__},
        ledger=reduce(add, own.ledgers),
        batches=own.ledgers,
        parameters=sum(p.numel() for p in model.parameters()),
        accuracy=own.accuracy,
        measure="accuracy",
        measured=None if machine is None else own.measure(machine, [x for x, _ in loader]),
    )
    beside = [
        Baseline(name=title, ledger=reduce(add, other.ledgers), accuracy=other.accuracy)
        for title, other in zip(baselines or {}, others, strict=True)
    ]
    record = make_record(subject, priced, baselines=beside, allow_mixed_kinds=allow_mixed_kinds)
    return Report(record)


class _Watched:
    """A model that is counted batch by batch, and judged where there are targets."""

    def __init__(self, model: nn.Module, signals: Any) -> None:
        self._model, self._signals = model, signals
        self._counter: NetworkCounter | None = None
        if isinstance(model, Network):
            with _evaluating(model):
                self._counter = NetworkCounter(model, signal=signals or "real", others=count_module)
        self.ledgers: list[Ledger] = []
        self._right, self._judged = 0, True

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose largest logit is the target; None if any had no target."""
        samples = sum(ledger.samples for ledger in self.ledgers)
        return self._right / samples if self._judged else None

    @torch.no_grad()
    def see(self, inputs: Any, targets: Tensor | None) -> None:
        """Count a batch.

        Raises:
            UsageError: it has other time steps than those before, or targets that are no classes
                of its samples.
        """
        with _evaluating(self._model):
            if self._counter is not None:
                ledger, logits = self._counter.count(list(inputs))
            else:
                ledger, logits = self._run(inputs)
        if self.ledgers and self.ledgers[0].timesteps != ledger.timesteps:
            raise UsageError(
                f"report: all batches have as many time steps, got {self.ledgers[0].timesteps} and "
                f"{ledger.timesteps}. Make a report of each."
            )
        self.ledgers.append(ledger)
        if targets is None:
            self._judged = False
        else:
            self._right += _right(logits, targets, ledger.samples)

    @torch.no_grad()
    def measure(self, machine: Machine, batches: Sequence[Any]) -> Measurement:
        """Measure what a sample of batches that were counted takes."""
        model = self._model

        def work() -> None:
            for inputs in batches:
                if isinstance(model, Network):
                    model.run(inputs)
                else:
                    model(*(inputs if isinstance(inputs, tuple) else (inputs,)))

        samples = sum(ledger.samples for ledger in self.ledgers)
        with _evaluating(model):
            return machine.measure(work, samples, _device_of(model))

    def _run(self, inputs: Any) -> tuple[Ledger, Any]:
        """Count a module and return what it gave, in the one pass that is counted."""
        given: list[Any] = []
        hook = self._model.register_forward_hook(lambda *call: given.append(call[2]))
        try:
            arguments = inputs if isinstance(inputs, tuple) else (inputs,)
            ledger = count_module(self._model, *arguments, signals=self._signals)
        finally:
            hook.remove()
        return ledger, given[0]


def _device_of(model: nn.Module) -> torch.device:
    return next((each.device for each in model.parameters()), torch.device("cpu"))


def _pair(batch: Any) -> tuple[Any, Tensor | None]:
    """Return the inputs and targets of a batch.

    Raises:
        UsageError: it is no such pair.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        inputs, targets = batch
        if targets is None or isinstance(targets, Tensor):
            return inputs, targets
    raise UsageError(
        "report: the loader gives batches (inputs, targets), targets a tensor of classes or None; "
        f"got {_words(batch)}."
    )


def _words(batch: Any) -> str:
    if isinstance(batch, tuple | list):
        return f"({', '.join(type(each).__name__ for each in batch)})"
    return f"a {type(batch).__name__}"


def _right(logits: Any, targets: Tensor, samples: int) -> int:
    """Return of how many samples the largest logit is the target.

    Raises:
        UsageError: there is not one class and one row of logits a sample.
    """
    if targets.shape != (samples,):
        raise UsageError(
            f"report: targets are the classes of {samples} samples, of shape [{samples}], got "
            f"{list(targets.shape)}. Give None where there are none."
        )
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != samples:
        told = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"report: a model that is judged gives logits of shape [{samples}, classes], got "
            f"{told}. Give None as targets to count it without an accuracy."
        )
    return int((logits.argmax(1) == targets.to(logits.device)).sum())


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put all modules in evaluation mode, and each back where it was."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _write(path: Path, text: str) -> None:
    """Write a file beside its place and rename it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no folder {path.parent}.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name a file.") from error
    except OSError as error:
        raise NeuroError(f"cannot write {path}: {error.strerror}.") from error
