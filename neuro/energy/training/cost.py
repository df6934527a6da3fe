"""What one optimiser step of a learning rule takes, by phase, from a network and real samples.

Counted is what the code of :mod:`neuro.learning` does for one batch of B samples over T steps:

====================  ============================================================================
phase                 what is in it
====================  ============================================================================
forward               the network, as :func:`count_network` counts it; where noise is added to
                      spikes, what they meet next is fed real numbers, and multiplies
recomputation         what backward computes a second time, from spikes packed as bits (``bptt``
                      with ``recompute``)
traces                eligibility traces, and pooling and sums of them on their way to synapses
noise                 perturbations drawn, scaled and added
read-outs             what local and intermediate classifiers answer, and their errors; the latter
                      answer a second time for their feedback to learn from
error path            loss and its error, surrogate derivatives, and how errors reach each layer:
                      transposed products, feedback matrices, read-outs, and back through time
weight gradients      products of errors and presynaptic factors, and sums over the batch and time
feedback updates      products that move feedback matrices
standardisation       making standardised weights, and carrying gradients through that
optimiser             the step, of all that trains: weights, read-outs, and feedback matrices of
                      ``dkp``; the norms by which gradients and weights are checked before and after
                      it; and the scaling of gradients to a limit
====================  ============================================================================

Two accountings of products. With ``zeros="skipped"`` a factor of 0 costs nothing where a signal is
of events, and a product with a spike is an addition: the accounting of the forward pass. A trace is
a real number once its neuron has fired, so its products are multiply-accumulates. With
``zeros="multiplied"`` every product of a matrix is made, as on a CPU or GPU.

Where the code computes something twice, so do the counts: backward of ``bptt`` repeats the steps of
the neurons; feedback that reaches two synapses is multiplied out for each; a GPU draws noise again
wherever it is used.

A number that is kept for later is written where it is kept and read where it is used, arithmetic or
not (``state_writes``, ``state_reads``): noise on a device that holds it, spikes as bits, errors on
their way to a layer, the first output of a pair, sums that gradients are added to. What ``bptt``
keeps otherwise lies where forward wrote it. Spikes that read-outs see apart from noise are written
once more (``activation_writes``).

Left out, and why:

- copies that hold frames and errors back for one product over several steps, or lay input frames
  side by side: how many there is room for depends on the batch and the machine, and each step is
  counted as if its product were made at once; ``stored`` lacks them, too;
- numbers that one operation hands to the next within a formula, transposed and padded copies, and
  filling with zeros: they depend on what a kernel fuses, not on the rule;
- random bits, indexing, the bookkeeping of batches (rates, means that are only shown) and numbers
  that there is one of a batch (learning rates, powers of momenta);
- what depends on the past of a run: feedback is counted as it is before it freezes
  (``freeze_feedback_after``, unless that is 0), and with a limit of the gradient every step is
  counted as one that exceeds it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from neuro.energy.signals import Signal
from neuro.energy.training.backward import Backpropagation
from neuro.energy.training.batch import PHASES, TrainingCost, Zeros
from neuro.energy.training.online import Online
from neuro.energy.training.optimiser import Optimiser, OptimiserName
from neuro.errors import UsageError
from neuro.layers import Network
from neuro.learning import RULES, RuleOptions, rule_class
from neuro.learning.bptt import BPTTOptions
from neuro.learning.online import OnlineOptions

__all__ = ["PHASES", "TrainingCost", "training_cost"]


@torch.no_grad()
def training_cost(
    network: Network,
    steps: Sequence[Tensor],
    rule: RuleOptions | str,
    *,
    signal: Signal = "real",
    optimiser: Optimiser | OptimiserName = "adam",
    zeros: Zeros = "skipped",
) -> TrainingCost:
    """Count what a rule does with one batch.

    Spikes and traces are those of a pass without noise.

    Args:
        network: to train; left as it is.
        steps: T inputs ``(B, *input_shape)``; the same tensor T times is a constant input, whose
            current and weight gradient rules compute once.
        rule: its options, or its name for options as they are by default.
        signal: what the input is declared to be.
        optimiser: that steps, or its name for options as they are by default.
        zeros: which accounting, see the module.

    Raises:
        UsageError: a network the rule cannot train, another rule or optimiser, or a module, neuron
            or surrogate that is not known.
    """
    options = rule_class(rule).Options() if isinstance(rule, str) else rule
    if type(options) not in [known.Options for known in RULES.values()]:
        raise UsageError(
            f"nothing is known of the operations of a rule with {type(options).__name__}; those of "
            f"{', '.join(RULES)} are known."
        )
    if isinstance(optimiser, str):
        optimiser = Optimiser(name=optimiser)
    if not steps:
        raise UsageError("training is counted over at least one time step, got none.")
    if isinstance(options, BPTTOptions):
        return Backpropagation(network, steps, options, signal, optimiser, zeros).cost()
    assert isinstance(options, OnlineOptions)
    holds = steps[0].device.type == "cpu"
    return Online(network, steps, options, signal, optimiser, zeros, holds_noise=holds).cost()
