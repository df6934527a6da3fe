"""``neuro reason``: ask a trained reasoner for the tails of a fact, and why."""

from pathlib import Path

from neuro.cli.output import print_json
from neuro.errors import UsageError


def reason(
    run: Path,
    /,
    *,
    head: str,
    relation: str,
    tail: str | None = None,
    inverse: bool = False,
    count: int = 10,
    hide_known: bool = False,
    explain: bool = False,
    paths: int = 10,
    picture: Path | None = None,
    checkpoint: str = "last",
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Answer (head, relation, ?) with the best tails, their scores and when their spikes came.

    Parameters
    ----------
    run
        Folder of a run that trained grsnn, grsnn+ or nbfnet.
    head
        Name of the entity that is known.
    relation
        Name of the relation.
    tail
        With --explain: explain this tail, default the best one.
    inverse
        Ask (?, relation, head) instead.
    count
        How many tails.
    hide_known
        Leave out tails that the graph states already.
    explain
        Tell along which paths the spikes came, and draw them (grsnn and grsnn+).
    paths
        With --explain: how many paths, at most.
    picture
        With --explain: PNG file, default plots/reason.png of the run.
    checkpoint
        last, best, or another that is there.
    data_dir
        Folder with the data; default where the run found them.
    json
        Print exactly one JSON object on stdout.
    """
    for option, given in (("--tail", tail), ("--picture", picture)):
        if given is not None and not explain:
            raise UsageError(f"{option} says what to explain: give --explain, too.")
    for option, number in (("--count", count), ("--paths", paths)):
        if number < 1:
            raise UsageError(f"{option} must be at least 1, got {number}.")
    import torch

    from neuro.graph import (
        best_tails,
        describe_answers,
        describe_paths,
        explain_paths,
        known_tails,
        to_json,
    )
    from neuro.training import load_reasoner

    opened, session = load_reasoner(run, checkpoint=checkpoint, data_dir=data_dir)
    names, graph, model = session.task.test_graph, session.test_graph, session.model
    asked = names.relation(relation) + (len(names.relations) if inverse else 0)
    known = names.entity(head)
    wanted = None if tail is None else names.entity(tail)
    if wanted == known:
        raise UsageError(f"--tail: head and tail are one entity, {head}; a path needs two.")
    exclude = known_tails(names.facts, known, asked, relations=len(names.relations))
    with torch.no_grad():
        answers = best_tails(
            model, graph, known, asked, count=count, exclude=exclude if hide_known else ()
        )
    record = {"run": str(run), "checkpoint": checkpoint, **to_json(answers, names)}
    lines = describe_answers(answers, names)
    if explain:
        from neuro.graph.draw import draw_paths

        others = [each.node for each in answers.best if each.node != known]
        if wanted is None and not others:
            raise UsageError("There is no tail but the head itself to explain; name one (--tail).")
        chosen = others[0] if wanted is None else wanted
        found = explain_paths(model, graph, known, asked, chosen, paths=paths)
        record["explanation"] = to_json(found, names)
        lines += ["", *describe_paths(found, names)]
        if found.paths:
            file = picture or opened.plots / "reason.png"
            draw_paths(found, names, file)
            record["explanation"]["picture"] = str(file)
            lines.append(f"Picture: {file}")
    if json:
        print_json(record)
    else:
        print("\n".join(lines))
