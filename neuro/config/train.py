"""Everything that decides how a network is trained, in one typed, frozen object.

Rules, models and encodings bring their own options: each is a table with a ``name`` that looks up
a registry, and an unknown key in any of them is an error.
"""

from dataclasses import field as dataclass_field
from dataclasses import make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast

from pydantic import Field, field_validator, model_validator

from neuro.config.base import RunConfig, Section
from neuro.data import DATASETS
from neuro.encoding import ENCODINGS, Encoding
from neuro.errors import ConfigError, nearest
from neuro.learning import RULES, RuleOptions
from neuro.models import MLP, MODELS, ModelOptions

if TYPE_CHECKING:
    Rule = RuleOptions
    Model = ModelOptions

    class Encoder(Encoding):
        """An encoding that knows its name in the registry."""

        name: str

else:

    def _named(name: str, encoding: type) -> type:
        """The encoding's own dataclass with a ``name`` field in front of its options."""
        tag = ("name", Literal[name], dataclass_field(default=name))
        return make_dataclass(
            encoding.__name__, [tag], bases=(encoding,), frozen=True, kw_only=True
        )

    def _one_of(options: list[type]) -> Any:
        return Union[tuple(options)]  # noqa: UP007 - built from a registry

    Rule = _one_of([rule.Options for rule in RULES.values()])
    Model = _one_of([model.options for model in MODELS.values()])
    Encoder = _one_of([_named(name, encoding) for name, encoding in ENCODINGS.items()])


_DIRECT: Encoder = cast(Any, {"name": "direct"})


class Adam(Section):
    """Adam (Kingma & Ba 2015)."""

    name: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the mean of squared gradients"
    )
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the mean square")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty, added to the gradient")


class AdamW(Section):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay of the mean of squared gradients"
    )
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the mean square")
    weight_decay: float = Field(
        default=0.01, ge=0, description="share of a weight lost per lr and step"
    )


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(
        default=0.9, ge=0, lt=1, description="decay of the velocity; 0 for none"
    )
    nesterov: bool = Field(
        default=False, description="look ahead along the velocity (needs momentum)"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty, added to the gradient")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Schedule(Section):
    """How the learning rate changes over training."""

    name: Literal["cosine", "constant"] = Field(
        default="cosine", description="cosine falls to 0 along half a cosine; constant stays at lr"
    )
    per: Literal["step", "epoch"] = Field(
        default="step",
        description="change the learning rate after every batch, or after every epoch",
    )


class TrainConfig(RunConfig):
    """Configuration of one training run; the same config and machine give the same weights."""

    rule: Annotated[Rule, Field(discriminator="name", description="learning rule and its options")]
    dataset: str = Field(
        default="digits", description="name of the data set (see `neuro datasets`)"
    )
    dataset_options: dict[str, Any] = Field(
        default_factory=dict, description="options of the data set's loader"
    )
    model: Annotated[
        Model, Field(discriminator="name", description="architecture and its options")
    ] = MLP()
    encoding: Annotated[
        Encoder,
        Field(
            discriminator="name",
            validate_default=True,
            description="how a static input becomes one input per time step",
        ),
    ] = _DIRECT
    timesteps: int = Field(
        default=6, ge=1, description="T, steps per sample (frames, for event data)"
    )
    epochs: int = Field(default=30, ge=1, description="passes over the training samples")
    batch_size: int = Field(default=64, ge=1, description="samples per optimiser step")
    evaluation_batch_size: int = Field(
        default=500, ge=1, description="samples at once during evaluation; bounds its memory"
    )
    lr: float = Field(default=3e-3, gt=0, description="learning rate at the start")
    optimizer: Annotated[
        Adam | AdamW | SGD, Field(discriminator="name", description="optimiser and its options")
    ] = Adam()
    schedule: Schedule = Field(default=Schedule(), description="course of the learning rate")
    validation_fraction: float = Field(
        default=0.1,
        ge=0,
        le=0.9,
        description="share of the training samples held out for validation",
    )
    augment: bool = Field(
        default=True, description="use the data set's augmentation, where it has one"
    )

    @field_validator("dataset")
    @classmethod
    def _known_dataset(cls, name: str) -> str:
        if name not in DATASETS:
            raise ConfigError(
                f'Unknown data set "{name}".{nearest(name, DATASETS)} Known: {", ".join(DATASETS)}.'
            )
        return name

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> "TrainConfig":
        entry = DATASETS[self.dataset]
        for option in self.dataset_options:
            if option not in entry.options:
                raise ConfigError(
                    f'Data set {self.dataset} has no option "{option}".'
                    f"{nearest(option, entry.options)} It has: "
                    f"{', '.join(entry.options) or 'none'}."
                )
        if entry.kind == "events" and self.encoding.name != "direct":
            raise ConfigError(
                f"Data set {self.dataset} is made of events already; encoding "
                f'"{self.encoding.name}" is for static data. Use encoding "direct".'
            )
        return self

    @property
    def method_name(self) -> str:
        """The learning rule."""
        return self.rule.name

    @property
    def dataset_name(self) -> str:
        """The data set."""
        return self.dataset

    @property
    def model_name(self) -> str:
        """The architecture."""
        return self.model.name
