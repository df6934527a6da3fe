"""How well scores tell true triples from false ones: filtered ranks and what is made of them."""

import math
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from neuro.errors import DataError

Ties = Literal["pessimistic", "realistic", "optimistic"]


class Ranks(NamedTuple):
    """Place of each answer among the candidates; 1 is best.

    Attributes:
        pessimistic: float64 ``[B]``, after all candidates of equal score.
        optimistic: float64 ``[B]``, before them.
        candidates: int64 ``[B]``, with how many nodes the answer was compared.
    """

    pessimistic: Tensor
    optimistic: Tensor
    candidates: Tensor

    @property
    def realistic(self) -> Tensor:
        """The mean of both, which is the expected place in random order: float64 ``[B]``."""
        return (self.pessimistic + self.optimistic) / 2

    def by(self, ties: Ties) -> Tensor:
        """The ranks under one rule for ties, float64 ``[B]``."""
        return {
            "pessimistic": self.pessimistic,
            "realistic": self.realistic,
            "optimistic": self.optimistic,
        }[ties]

    @classmethod
    def empty(cls, count: int) -> Self:
        """Room for ranks that :meth:`put` brings."""
        pessimistic, optimistic = torch.empty(2, count, dtype=torch.float64)
        return cls(pessimistic, optimistic, torch.empty(count, dtype=torch.int64))

    def put(self, rows: Tensor, ranks: "Ranks") -> None:
        """Write the ranks of some answers, int64 ``rows``, into these."""
        for column, part in zip(self, ranks, strict=True):
            column[rows] = part


def filtered_ranks(
    scores: Tensor, answers: Tensor, known: Tensor, *, count_itself: bool = False
) -> Ranks:
    """Rank each answer among the nodes that are no known answers.

    With the candidates C, all nodes but the known answers and the answer itself,
    pessimistic ``1 + #{c in C : score_c >= score_answer}``, optimistic ``1 + #{c in C : >}``.

    Args:
        scores: ``[B, N]``, higher is truer.
        answers: int64 ``[B]``.
        known: bool ``[B, N]``, True for the known answers (``KnownAnswers.mask``), the answer
            itself among them or not.
        count_itself: an answer that is not ``known`` is compared with itself, too, as TorchDrug's
            inductive evaluation does, where the pessimistic rank is thus never below 2.

    Raises:
        DataError: shapes differ, or a score is NaN.
    """
    if scores.dim() != 2 or known.shape != scores.shape or answers.shape != scores.shape[:1]:
        raise DataError(
            f"filtered_ranks: scores {list(scores.shape)} must be [B, N], known "
            f"{list(known.shape)} likewise and answers {list(answers.shape)} [B]."
        )
    if bool(torch.isnan(scores).any()):
        raise DataError("filtered_ranks: a score is NaN, which has no rank. Did training diverge?")
    place = answers[:, None]
    rivals = ~known
    if not count_itself:
        rivals = rivals.scatter(1, place, False)
    own = scores.gather(1, place)
    return Ranks(
        1.0 + ((scores >= own) & rivals).sum(1).double(),
        1.0 + ((scores > own) & rivals).sum(1).double(),
        rivals.sum(1),
    )


class RankingMetrics(NamedTuple):
    """Means over queries.

    Attributes:
        mrr: mean reciprocal rank, 0 to 1.
        mr: mean rank, from 1.
        hits_at_1, hits_at_3, hits_at_10: share of answers in the first 1, 3, 10 places.
        hits_at_10_of_50: expected share in the first 10 places against 50 sampled negatives.
    """

    mrr: float
    mr: float
    hits_at_1: float
    hits_at_3: float
    hits_at_10: float
    hits_at_10_of_50: float


def ranking_metrics(ranks: Ranks, ties: Ties = "pessimistic") -> RankingMetrics:
    """Summarise ranks under one rule for ties.

    Raises:
        DataError: there are no ranks.
    """
    if not len(ranks.candidates):
        raise DataError("ranking_metrics: no query was ranked.")
    places = ranks.by(ties)
    return RankingMetrics(
        mrr=places.reciprocal().mean().item(),
        mr=places.mean().item(),
        hits_at_1=(places <= 1).double().mean().item(),
        hits_at_3=(places <= 3).double().mean().item(),
        hits_at_10=(places <= 10).double().mean().item(),
        hits_at_10_of_50=expected_hits(places, ranks.candidates).mean().item(),
    )


def expected_hits(
    ranks: Tensor, candidates: Tensor, *, places: int = 10, sampled: int = 50
) -> Tensor:
    """Chance of a place among the first k against n candidates drawn with replacement.

    ``sum_{i < k} C(n, i) p^i (1 - p)^(n - i)`` with ``p = (rank - 1) / candidates``: at most k - 1
    of the drawn ones go before the answer.

    Args:
        ranks: ``[B]``, from 1.
        candidates: ``[B]``; where there are none, the answer is first.
        places: k.
        sampled: n.

    Returns:
        float64 ``[B]``.
    """
    before = (ranks.double() - 1) / candidates.clamp(min=1)
    chances = [
        math.comb(sampled, drawn) * before**drawn * (1 - before) ** (sampled - drawn)
        for drawn in range(min(places, sampled + 1))
    ]
    return torch.stack(chances).sum(0)


class LinkMetrics(NamedTuple):
    """Both from 0 to 1: area under the ROC curve, average precision."""

    auroc: float
    average_precision: float


def link_metrics(positive_scores: Tensor, negative_scores: Tensor) -> LinkMetrics:
    """Score true links against wrong ones, any number of each.

    Raises:
        DataError: either is empty, or a score is NaN.
    """
    # Importing scikit-learn takes seconds.
    from sklearn.metrics import average_precision_score, roc_auc_score

    if not positive_scores.numel() or not negative_scores.numel():
        raise DataError("link_metrics: needs scores of true links and of wrong ones.")
    scores = torch.cat([positive_scores.flatten(), negative_scores.flatten()]).detach().cpu()
    if bool(torch.isnan(scores).any()):
        raise DataError("link_metrics: a score is NaN. Did training diverge?")
    true = torch.zeros(len(scores), dtype=torch.int64)
    true[: positive_scores.numel()] = 1
    return LinkMetrics(
        float(roc_auc_score(true.numpy(), scores.double().numpy())),
        float(average_precision_score(true.numpy(), scores.double().numpy())),
    )
