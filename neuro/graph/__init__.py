"""Graphs of facts: reading them, asking for missing facts, and judging the answers.

Data and protocol only; what scores the candidates is not known here.
"""

from neuro.graph.answers import KnownAnswers, known_tails
from neuro.graph.best_tails import best_tails
from neuro.graph.datasets import GRAPHS, GraphEntry, find_graph, load_graph, load_own_graph
from neuro.graph.describe import describe_answers, describe_paths, to_json
from neuro.graph.explain import explain_paths
from neuro.graph.findings import Answers, Explanation
from neuro.graph.grsnn import GRSNN
from neuro.graph.links import link_prediction_task, load_links
from neuro.graph.message_graph import MessageGraph
from neuro.graph.nbfnet import NBFNet
from neuro.graph.objective import negative_sampling_loss
from neuro.graph.path_graph import explanation_graph
from neuro.graph.queries import Queries, both_sides, head_queries, tail_queries
from neuro.graph.ranking import (
    LinkMetrics,
    RankingMetrics,
    Ranks,
    filtered_ranks,
    link_metrics,
    ranking_metrics,
)
from neuro.graph.sampling import known_links, strict_negative_links, strict_negatives
from neuro.graph.tasks import ReasoningTask, inductive_task, load_folder, transductive_task
from neuro.graph.triples import KnowledgeGraph, Triple, read_triples

__all__ = [
    "GRAPHS",
    "GRSNN",
    "Answers",
    "Explanation",
    "GraphEntry",
    "KnowledgeGraph",
    "KnownAnswers",
    "LinkMetrics",
    "MessageGraph",
    "NBFNet",
    "Queries",
    "RankingMetrics",
    "Ranks",
    "ReasoningTask",
    "Triple",
    "best_tails",
    "both_sides",
    "describe_answers",
    "describe_paths",
    "explain_paths",
    "explanation_graph",
    "filtered_ranks",
    "find_graph",
    "head_queries",
    "inductive_task",
    "known_links",
    "known_tails",
    "link_metrics",
    "link_prediction_task",
    "load_folder",
    "load_graph",
    "load_links",
    "load_own_graph",
    "negative_sampling_loss",
    "ranking_metrics",
    "read_triples",
    "strict_negative_links",
    "strict_negatives",
    "tail_queries",
    "to_json",
    "transductive_task",
]
