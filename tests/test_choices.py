"""Fields with listed values."""

from dataclasses import dataclass
from typing import Literal

import pytest

from neuro.choices import check_choices
from neuro.errors import UsageError

Colour = Literal["red", "green"]


@dataclass
class Paint:
    colour: Colour = "red"
    litres: float = 1.0
    note: str = "anything"


def test_listed_values_pass() -> None:
    check_choices(Paint())
    check_choices(Paint(colour="green", note="red"))


def test_another_value_names_the_field_the_choices_and_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        check_choices(Paint(colour="greeen"))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Paint.colour must be one of 'red', 'green', got 'greeen'. Did you mean \"green\"?"
    )
