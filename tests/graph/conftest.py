import pytest

from neuro.graph import KnowledgeGraph


@pytest.fixture
def family() -> KnowledgeGraph:
    """anna and ben are parents of carl, carl of dora; erik is nobody's."""
    return KnowledgeGraph.of(
        [
            ("carl", "parent", "dora"),
            ("anna", "parent", "carl"),
            ("ben", "parent", "carl"),
            ("anna", "married", "ben"),
        ],
        entities=["erik"],
    )
