"""Operations of any torch module, counted while it runs.

Everything that a module computes goes through torch's dispatcher, functional calls as well as those
of its submodules. There each operator is counted by its rule
(:mod:`neuro.energy.operators.operator_rules`), for the submodule whose ``forward`` is running. What
has no rule is an error: a count is whole or there is none.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neuro.energy.counts import Ledger
from neuro.energy.operators.declarations import (
    Declarations,
    Declare,
    Declared,
    declare,
    declared_tensors,
    input_names,
)
from neuro.energy.operators.module_rows import ATTENTION, Row, Rows
from neuro.energy.operators.move_rules import LITERALS, SHARING
from neuro.energy.operators.operator_call import Call, Counted, Rule, tensors_in
from neuro.energy.operators.operator_rules import RULES
from neuro.energy.operators.product_rules import EVENTS
from neuro.energy.operators.tensor_marks import (
    UNMARKED,
    Carried,
    Extent,
    Kept,
    Mark,
    Marks,
    is_whole,
    storage_of,
    together,
)
from neuro.errors import UsageError

_FOLDED_INTO = ("linear", "convolution")
_BATCH_NORMS = ("batch_norm", "batch_norm_legit", "batch_norm_legit_no_training")


def count_module(
    module: nn.Module,
    *inputs: Any,
    signals: Declarations | None = None,
    samples: int | None = None,
    timesteps: int = 1,
    fold_normalisation: bool = False,
    constants: Iterable[Tensor] = (),
    rules: Mapping[str, Rule] | None = None,
) -> Ledger:
    """Run a module once and count all it does.

    Every tensor carries real numbers unless declared otherwise: of a sum of products with real
    numbers each is a multiply-accumulate. What is declared ``binary`` or ``ternary`` makes exact
    synaptic additions wherever a linear map, a convolution or another matrix meets it, and stays
    what it is through views, copies, selections and maxima over windows. Sums of events are
    ``graded``. Values are checked against the declaration; none is ever guessed.

    A row stands for a submodule, by its path, and holds what its own ``forward`` does; products of
    activations with each other, and the softmax beside them, stand apart as ``"path, attention"``.
    A module that is used in several places has one row, under the first of its paths.

    The module is called, so one that keeps state has a later state afterwards.

    Args:
        module: in evaluation mode.
        inputs: of its ``forward``.
        signals: what is not real: by path of the submodule whose output it is, or by name of the
            input; a tuple for a module that returns several things, None for those that are real:
            ``{"spikes": "binary", "lif": ("binary", None)}``. Or a function of path and module,
            which is None for an input. Or a signal for each input.
        samples: in the inputs; by default the length of the first tensor of them.
        timesteps: of each sample, in these inputs.
        fold_normalisation: take a batch normalisation of nothing but a linear map or a convolution
            as part of its weights and bias: it counts nothing, and its facts say ``folded``.
        constants: tensors that are the same for every sample, as weights are: a graph, a mask, a
            table. What is made of constants alone counts nothing.
        rules: for operators of one's own, by name, ``namespace::operator``; they go first.

    Returns:
        Counts summed over the samples and their steps, by module.

    Raises:
        UsageError: an operator has no rule (all of them are listed, with where they were called);
            the module is in training mode; a declaration names nothing, or values contradict it.
    """
    counter = ModuleCounter(
        module,
        signals=signals,
        fold_normalisation=fold_normalisation,
        constants=constants,
        rules=rules,
    )
    return counter.count(*inputs, samples=samples, timesteps=timesteps)


class ModuleCounter:
    """Counts a module on several batches, between which its weights and constants stay.

    What is known of weights is found once. See :func:`count_module` for the arguments.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        signals: Declarations | None = None,
        fold_normalisation: bool = False,
        constants: Iterable[Tensor] = (),
        rules: Mapping[str, Rule] | None = None,
    ) -> None:
        self._module = module
        self._signals = signals
        self._fold = fold_normalisation
        self._rules = RULES if rules is None else RULES | dict(rules)
        self._constants = list(constants)
        self._parameters = dict(module.named_parameters())
        lasting = [*self._constants, *self._parameters.values()]
        self._kept = Kept(frozenset(map(storage_of, lasting)) - {0})

    @torch.no_grad()
    def count(self, *inputs: Any, samples: int | None = None, timesteps: int = 1) -> Ledger:
        """Run the module once and count all it does."""
        module = self._module
        training = [path or "itself" for path, each in module.named_modules() if each.training]
        if training:
            raise UsageError(
                f"count_module: {type(module).__name__} is in training mode ({training[0]}), in "
                "which numbers are dropped at random or normalised by the batch. Call "
                "module.eval() first."
            )
        names = input_names(module, inputs)
        declared = declare(module, names, self._signals)
        marks = Marks(self._kept)
        for tensor in self._constants:
            marks.put(tensor, Mark(constant=True))
        for name, parameter in self._parameters.items():
            marks.put(parameter, Mark(constant=True, parameters=frozenset({name})))
        counting = _Counting(module, self._rules, marks, self._fold)
        for name, value in zip(names, inputs, strict=False):
            counting.take_declared(value, declared(name, None), f"input {name}")
        states = _Buffers(module)
        with ExitStack() as stack:
            for context in (_plain_execution(), counting.follow(module, declared), counting):
                stack.enter_context(context)
            module(*inputs)
        counting.refuse_unknown(type(module).__name__)
        if samples is None:
            first = next(tensors_in(inputs), None)
            samples = len(first) if first is not None and first.dim() else 1
        return counting.rows.ledger(samples, timesteps, states.kept(samples))


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operator that runs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave torch's compiler alone: loading it takes seconds, and nothing is compiled here."""
        return False

    def __init__(
        self, module: nn.Module, rules: Mapping[str, Rule], marks: Marks, fold: bool
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows = Rows(module)
        self._rules = rules
        self._fold = fold
        self._marks = marks
        self._paths = [""]
        self._watching = True
        self._unknown: Counter[tuple[str, str]] = Counter()

    def take_declared(self, value: Any, declared: Declared, where: str) -> tuple[int, int]:
        """Mark what is declared; return how many events that are, of how many numbers."""
        events = numbers = 0
        for tensor, signal in declared_tensors(value, declared, where):
            extent = None if is_whole(tensor) else Extent.of(tensor)
            if extent is not None and extent.end - extent.first > max(1, tensor.numel()):
                raise UsageError(
                    f"{where}: declared {signal}, but its numbers lie among others in memory, "
                    "which would be taken for the same. Pass them on by .contiguous()."
                )
            self._marks.put(tensor, Mark(carries=signal, extent=extent))
            if signal in EVENTS:
                events += int(torch.count_nonzero(tensor))
                numbers += tensor.numel()
        return events, numbers

    @contextmanager
    def follow(self, module: nn.Module, declared: Declare) -> Iterator[None]:
        """Know which submodule is running, and what it returns."""
        handles = []
        try:
            for path, part in module.named_modules():
                enter, leave = self._entering(path), self._leaving(path, declared)
                handles += [
                    part.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                    part.register_forward_hook(leave),
                ]
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _entering(self, path: str) -> Any:
        def enter(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._paths.append(path)
            given = tensors_in([*inputs, *named.values()])
            self.rows.row(path).inputs += sum(each.numel() for each in given)

        return enter

    def _leaving(self, path: str, declared: Declare) -> Any:
        def leave(part: nn.Module, _: tuple[Any, ...], result: Any) -> None:
            row = self.rows.row(self._paths.pop())
            row.outputs += sum(each.numel() for each in tensors_in(result))
            said = declared(path, part)
            if said is None:
                return
            self._watching = False
            try:
                events, numbers = self.take_declared(result, said, path or type(part).__name__)
            finally:
                self._watching = True
            row.add("neurons", Counted({"spikes": events}))
            row.neurons += numbers

        return leave

    def refuse_unknown(self, whose: str) -> None:
        """Raise if any operator had no rule.

        Raises:
            UsageError: lists them all.
        """
        if not self._unknown:
            return
        listed = "; ".join(
            f"{name} in {path or whose}" + (f" ({times} times)" if times > 1 else "")
            for (name, path), times in sorted(self._unknown.items())
        )
        raise UsageError(
            f"count_module: there is no rule to count these operators by: {listed}. Give rules for "
            "them (rules=), or compute the same by operators that have one "
            "(neuro.energy.operators.operator_rules.RULES)."
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self._watching:
            return func(*args, **kwargs)
        name = self._name(func)
        if name in SHARING:
            return func(*args, **kwargs)
        rule = self._rules.get(name)
        if rule is None:
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        result = func(*args, **kwargs)
        outputs = tuple(tensors_in(result))
        call = Call(name, func._schema, args, kwargs, outputs, self._marks)
        known = [self._marks.of(each) for each in call.operands]
        constant = bool(known) and all(mark.constant for mark in known)
        if constant and not (rule and (rule.draws or rule.moves)):
            self._mark(call, "real", known, constant)
        elif rule is None or any(each.is_complex() for each in (*call.operands, *outputs)):
            self._unknown[name, self._paths[-1]] += 1
        elif outputs:
            self._take(call, rule, known)
        return result

    def _name(self, func: Any) -> str:
        name: str = func._schema.name
        return name if name in self._rules else name.removesuffix("_")

    def _take(self, call: Call, rule: Rule, known: Sequence[Mark]) -> None:
        """Count a call, and mark what came of it."""
        if rule.moves:
            # what constants alone were written to is one
            written = [mark for mark in known if mark.carries != "silent"]
            constant = call.name in LITERALS or (
                bool(written) and all(mark.constant for mark in written)
            )
            if not _are_views(call):
                self._read(known)
            self._mark(call, rule.sends(call), known, constant)
        else:
            row = self._count(call, rule, known)
            self._mark(call, rule.sends(call), known, False, row)

    def _count(self, call: Call, rule: Rule, known: Sequence[Mark]) -> Row | None:
        """Add a call to its row; return the row if what it made is a product."""
        found = rule.count(call)
        counted = found if isinstance(found, Counted) else Counted(found)
        counted = counted._replace(columns=self._with_movement(call, counted))
        kind = counted.facts.get("kind", rule.kind)
        path = self._paths[-1]
        beside = kind == "softmax" and self.rows.has(path, ATTENTION)
        row = self.rows.row(path, ATTENTION if beside or kind == ATTENTION else "")
        for mark in known:
            row.parameters |= mark.parameters
        folding = self._folds(call, known)
        self._read(known)
        if folding:
            _fold(known[0], row, counted, call.out.numel())
            return None
        row.add(kind, counted)
        for weight in tensors_in(counted.facts.get("weight")):
            source = self._marks.of(weight).parameters or storage_of(weight)
            place = (source, weight.storage_offset(), weight.shape)
            row.weights.setdefault(place, call.nonzero(weight))
        return row if kind in _FOLDED_INTO else None

    def _folds(self, call: Call, known: Sequence[Mark]) -> bool:
        """Tell whether a call is a normalisation that goes into the product before it."""
        if not self._fold or not call.name.endswith(_BATCH_NORMS):
            return False
        by_batch = any(each.name == "training" for each in call.schema.arguments)
        if by_batch and call.argument("training"):
            return False
        return known[0].product is not None and known[0].reads == 0

    def _read(self, known: Sequence[Mark]) -> None:
        """Note that something reads tensors: what it reads cannot have gone into weights."""
        for mark in known:
            if mark is UNMARKED:
                continue
            mark.reads += 1
            if mark.withheld is not None:
                mark.withheld()
                mark.withheld = None

    def _with_movement(self, call: Call, counted: Counted) -> dict[str, float]:
        """Return the columns; if a rule is silent, operands are read and the result is written."""
        columns = dict(counted.columns)
        if not any(name.endswith(("_reads", "_writes")) for name in columns):
            for operand in call.operands:
                weights = bool(self._marks.of(operand).parameters)
                name = "weight_reads" if weights else "activation_reads"
                columns[name] = columns.get(name, 0) + operand.numel()
            columns["activation_writes"] = call.out.numel()
        return columns

    def _mark(
        self,
        call: Call,
        carries: Carried,
        known: Sequence[Mark],
        constant: bool,
        row: Row | None = None,
    ) -> None:
        """Note what the results of a call are."""
        shared = {storage_of(each) for each in call.operands}
        parameters: frozenset[str] = frozenset()
        if constant:
            parameters = parameters.union(*(mark.parameters for mark in known))
        for output in call.outputs:
            mark = Mark(carries, constant, parameters, row)
            fresh = storage_of(output) not in shared
            if call.schema.is_mutable and not is_whole(output):
                before = self._marks.of(output)
                mark.carries = together([before.carries, carries])
                mark.constant = constant and (before.constant or before.carries == "silent")
                mark.product = None
            if mark != UNMARKED if fresh else call.schema.is_mutable or call.name in LITERALS:
                self._marks.put(output, mark)


def _fold(mark: Mark, row: Row, counted: Counted, outputs: int) -> None:
    """Leave a normalisation to the weights before it, which gain a bias if they had none."""
    product: Row = mark.product
    biased = product.told.get("bias", False)
    bias = Counted({"bias_additions": outputs, "weight_reads": outputs}, {"bias": True})
    row.folded = True
    if not biased:
        product.add("elementwise", bias)

    def undo() -> None:
        row.folded = False
        row.add("normalisation", counted)
        if not biased:
            for name, number in bias.columns.items():
                product.columns[name] -= number
            product.told["bias"] = False

    row.kinds.add("normalisation")
    mark.withheld = undo


def _are_views(call: Call) -> bool:
    """Tell whether the results are views of what was given, which share its mark."""
    shared = {storage_of(each) for each in call.operands}
    return all(storage_of(each) in shared for each in call.outputs)


@contextmanager
def _plain_execution() -> Iterator[None]:
    """Have modules compute by operators that can be seen, not by fused or compiled ones."""
    fast = torch.backends.mha.get_fastpath_enabled()
    compiled = "torch._dynamo" in sys.modules
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Buffers:
    """Which buffers a pass changes: those are state."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._before = {name: (each, each._version) for name, each in module.named_buffers()}

    def kept(self, samples: int) -> dict[str, int]:
        """Return how many numbers each module kept for a sample, by its path."""
        found: Counter[str] = Counter()
        for name, each in self._module.named_buffers():
            before = self._before.get(name)
            if before is None or before[0] is not each or before[1] != each._version:
                found[name.rpartition(".")[0]] += each.numel()
        return {path: round(size / samples) for path, size in found.items()}
