"""Everything that decides how a model of graphs is trained, in one typed, frozen object."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, field_validator, model_validator

from neuro.config.base import RunConfig
from neuro.errors import ConfigError, nearest
from neuro.graph import GRAPHS
from neuro.graph.methods import METHODS, MethodOptions

DEFAULT_GRAPH = "umls"

if TYPE_CHECKING:
    Method = MethodOptions
else:
    Method = Union[tuple(method.options for method in METHODS.values())]  # noqa: UP007 - built from a registry


class ReasonConfig(RunConfig):
    """Configuration of one run that learns to find missing facts of a graph."""

    method: Annotated[
        Method, Field(discriminator="name", description="method of reasoning and its options")
    ]
    dataset: str | None = Field(
        default=None, description='published graph, by name; "umls" if no graph is named either'
    )
    graph: str | None = Field(
        default=None, description="in its place: folder (or file of links) of a graph of one's own"
    )
    batch_size: int = Field(default=32, ge=1, description="positive triples propagated at once")
    accumulate: int = Field(
        default=1, ge=1, description="batches whose gradients make one optimiser step"
    )
    evaluation_batch_size: int = Field(
        default=32, ge=1, description="queries propagated at once during evaluation"
    )
    negatives: int | None = Field(
        default=None,
        ge=1,
        description="wrong answers drawn for each positive; null for 32, links 1",
    )
    adversarial_temperature: float | None = Field(
        default=1.0,
        gt=0,
        description="negatives weigh softmax(logit / temperature); null for equal weights",
    )
    remove_one_hop: bool = Field(
        default=False,
        description="while training, take out every edge between a query's node and a candidate, "
        "not the asked facts alone",
    )
    batches_per_epoch: int | None = Field(
        default=None, ge=1, description="at most so many batches an epoch; null for all triples"
    )
    validate_every: int = Field(
        default=1, ge=1, description="epochs between validations; the last one is always validated"
    )
    inductive_positive_mask: bool = Field(
        default=True,
        description="an answer is not compared with itself; false repeats the evaluation of "
        "TorchDrug on inductive sets",
    )

    @field_validator("dataset")
    @classmethod
    def _known_graph(cls, name: str | None) -> str | None:
        if name is not None and name not in GRAPHS:
            raise ConfigError(
                f'Unknown graph "{name}".{nearest(name, GRAPHS)} Known: {", ".join(GRAPHS)}. '
                "A graph of your own is named by its folder, with --graph."
            )
        return name

    @field_validator("graph")
    @classmethod
    def _whole_path(cls, path: str | None) -> str | None:
        return None if path is None else str(Path(path).expanduser().absolute())

    @model_validator(mode="before")
    @classmethod
    def _one_graph(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        dataset, graph = values.get("dataset"), values.get("graph")
        if graph is not None and not str(graph).strip():
            raise ConfigError("graph is empty: name the folder of a graph, or leave it out.")
        if dataset is not None and graph is not None:
            raise ConfigError(
                f"Name either a published graph or one of your own, not both "
                f"(dataset = {dataset!r}, graph = {str(graph)!r})."
            )
        return (
            values
            if dataset is not None or graph is not None
            else {**values, "dataset": DEFAULT_GRAPH}
        )

    @property
    def method_name(self) -> str:
        """The method of reasoning."""
        return self.method.name

    @property
    def dataset_name(self) -> str:
        """The published graph, or the name of the folder of one's own."""
        return self.dataset or Path(self.graph or "").name

    @property
    def model_name(self) -> str:
        """A method is its own architecture."""
        return self.method.name
