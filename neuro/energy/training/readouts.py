"""Classifiers on hidden layers: what they answer, the credit they give, and how they learn."""

from collections.abc import Iterator

from torch import Tensor

from neuro.energy.training.batch import Batch
from neuro.energy.training.optimiser import Trained
from neuro.energy.training.parts import output_error
from neuro.learning.local import LocalReadout
from neuro.learning.online import OnlineRule
from neuro.learning.opzo import OPZO
from neuro.learning.pass_through import StepRecord


class Readout:
    """One classifier, counted step by step: ``o = V p + c`` for pooled activity p.

    Args:
        batch: that is counted.
        kind: "local" or "intermediate".
        layer: whose activity it reads.
        module: the classifier.
        weight: factor on its credit.
        noisy: whether what it reads are spikes and noise, real numbers all.
    """

    def __init__(
        self,
        batch: Batch,
        kind: str,
        layer: str,
        module: LocalReadout,
        *,
        weight: float = 1.0,
        noisy: bool = False,
    ) -> None:
        self._batch, self._module, self._weight = batch, module, weight
        self._kind, self._noisy = kind, noisy
        self.layer = layer
        self.name = f"{layer} {kind} read-out"
        self._side = module.pool.size if module.pool else 1
        self._outputs, self._inputs = module.weight.shape

    @property
    def trained(self) -> Trained:
        return Trained(self.name, self._module.weight.numel() + self._outputs, 2)

    def answer(self, spikes: Tensor) -> None:
        """Count features and logits of a step."""
        tally, samples = self._batch.phases["read-outs"], self._batch.samples
        features = self._module.features(spikes)
        every = self._batch.every or self._noisy
        used = features.numel() if every else int(features.count_nonzero())
        if self._side > 1:
            entered = round(float(features.sum()) * self._side**2)
            added = features.numel() * (self._side**2 - 1)
            sums = {"additions": added} if every else {"synaptic_additions": entered}
            tally.add(self.name, columns=sums)
            scaled = self._kind == "local" and self._module.scale != 1
            tally.add(
                self.name,
                multiplications=used * (2 if scaled else 1),
                activation_reads=spikes.numel() if every else entered,
                activation_writes=used,
            )
        products, biases = used * self._outputs, samples * self._outputs
        # a spike times its layer's gain is a selection
        of_spikes = self._side == 1 and not every
        tally.add(self.name, products, {"synaptic_additions" if of_spikes else "macs": 1})
        tally.add(
            self.name,
            bias_additions=biases,
            weight_reads=products + biases,
            activation_reads=used,
        )
        if every:
            tally.add(self.name, activation_writes=biases)
        else:
            moved = products + biases
            tally.add(self.name, spikes_in=used, state_reads=moved, state_writes=moved)

    def judge(self) -> None:
        """Count the error of a step, and the credit it makes: ``g = scale pool^T V^T e``."""
        samples, neurons = self._batch.samples, self._batch.neurons(self.layer)
        self._batch.phases["read-outs"].add(self.name, samples, output_error(self._outputs))
        path, products = self._batch.phases["error path"], self._inputs * self._outputs
        path.add(
            self.name,
            samples,
            macs=products,
            weight_reads=products,
            activation_reads=self._outputs,
            activation_writes=neurons,
        )
        if self._weight != 1:
            path.add(self.name, samples, multiplications=self._outputs)
        if self._side > 1:
            path.add(self.name, samples, multiplications=self._inputs)
        if self._module.scale != 1:
            path.add(self.name, samples, multiplications=neurons)

    def learn(self, trace: Tensor, *, adds: bool) -> float:
        """Count the weight gradient of a step, ``dV = e pool(a)^T``, and return its products.

        Args:
            trace: a.
            adds: to a gradient that is there.
        """
        samples, numbers = self._batch.samples, self._module.weight.numel()
        features = self._module.features(trace)
        if self._side > 1:
            self._batch.phases["traces"].add(
                self.name,
                features.numel(),
                additions=self._side**2 - 1,
                multiplications=1,
                activation_writes=1,
            )
            self._batch.phases["traces"].add(self.name, activation_reads=trace.numel())
        used = features.numel() if self._batch.every else int(features.count_nonzero())
        products = used * self._outputs
        gathered = numbers if self._batch.every else products
        tally = self._batch.phases["weight gradients"]
        tally.add(
            self.name,
            macs=products,
            state_reads=gathered,
            state_writes=gathered,
            activation_reads=samples * (self._inputs + self._outputs),
        )
        tally.add(self.name, self._outputs, additions=samples, state_reads=1, state_writes=1)
        if self._module.scale != 1:
            tally.add(self.name, numbers, multiplications=1, state_reads=1, state_writes=1)
        if adds:
            trained = numbers + self._outputs
            tally.add(self.name, trained, additions=1, state_reads=1, state_writes=1)
        return products


class Readouts:
    """All classifiers of a rule on hidden layers.

    Attributes:
        middle: that of ``intermediate_learning``, if there is one.
        below: layers that its errors reach by feedback.
    """

    def __init__(self, batch: Batch, rule: OnlineRule) -> None:
        self._batch = batch
        options = batch.options
        self._local = [
            Readout(batch, "local", layer, module, weight=options.local_weight)
            for layer, module in (rule.local.items() if rule.local is not None else ())
            if isinstance(module, LocalReadout)
        ]
        self.middle: Readout | None = None
        self.below: list[str] = []
        if isinstance(rule, OPZO) and rule.intermediate is not None:
            found = rule.intermediate
            noisy = options.noise_at == "post"
            self.middle = Readout(batch, "intermediate", found.middle, found.readout, noisy=noisy)
            self.below = list(found.feedback)

    def __iter__(self) -> Iterator[Readout]:
        yield from self._local
        if self.middle is not None:
            yield self.middle

    @property
    def local(self) -> bool:
        return bool(self._local)

    def step(self, record: StepRecord, *, first: bool, answers_again: bool) -> float:
        """Count a step and return its synaptic updates.

        Args:
            record: of a pass that keeps spikes.
            first: whether no gradient is there yet.
            answers_again: the middle one answers once more, for its feedback to learn from.
        """
        updates = 0.0
        for each in self:
            spikes = record.spikes[each.layer]
            if each is not self.middle:  # spikes are written down beside what is sent
                self._batch.phases["read-outs"].add(each.name, activation_writes=spikes.numel())
            elif answers_again:
                each.answer(spikes)
            each.answer(spikes)
            each.judge()
            updates += each.learn(record.traces[each.layer], adds=not first)
        return updates

    @property
    def trained(self) -> list[Trained]:
        return [each.trained for each in self]
