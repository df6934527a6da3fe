"""Operations of pairs that may be linked, from those of their runs both ways."""

from dataclasses import replace

from neuro.energy import Counts, Facts, Ledger
from neuro.graph.grsnn import GRSNN
from neuro.graph.nbfnet import NBFNet
from neuro.graph.operations.parts import added, score


def count_pairs(model: GRSNN | NBFNet, both_ways: Ledger) -> Ledger:
    """Count pairs whose order says nothing, in total: two runs each, one score.

    The features of a pair are the sum of those that its two runs read out; half of it, their mean,
    is in the weights of the small network. Both runs go at once, so a pair has the neurons, states
    and numbers of two, and the parameters of one.

    Args:
        model: that ran.
        both_ways: of the runs from heads and from tails, no candidate of which was scored.
    """
    pairs, remainder = divmod(both_ways.samples, 2)
    if remainder:
        raise ValueError(f"count_pairs: {both_ways.samples} runs are no pairs")
    hidden = model.query.embedding_dim
    read = hidden
    if isinstance(model, GRSNN) and model.concat_hidden:
        read *= model.timesteps
    counts, facts = score(model.mlp, pairs, 1)
    counts += added(pairs * read)
    if isinstance(model, GRSNN) and not model.boundary_query:
        counts += added(pairs * hidden)
    twice = {name: _twice(each) for name, each in both_ways.facts.items()}

    def paired(runs: Ledger, scored: Counts) -> Ledger:
        return replace(
            runs,
            layers={**runs.layers, "score": scored},
            facts={**twice, "score": facts},
            samples=pairs,
        )

    last = len(both_ways.steps) - 1
    steps = (
        paired(each, counts if step == last else Counts())
        for step, each in enumerate(both_ways.steps)
    )
    return replace(paired(both_ways, counts), steps=tuple(steps))


def _twice(facts: Facts) -> Facts:
    """Return the facts of a layer that serves two runs at once."""
    return replace(
        facts,
        state=2 * facts.state,
        inputs=2 * facts.inputs,
        outputs=2 * facts.outputs,
        neurons=2 * facts.neurons,
        dense=2 * facts.dense,
    )
