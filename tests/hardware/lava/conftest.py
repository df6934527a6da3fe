"""The Python that has Lava, for the tests that run it."""

import os

import pytest

from neuro.hardware.lava.interpreter import (
    VARIABLE,
    Interpreter,
    LavaMissingError,
    find_interpreter,
)


@pytest.fixture(scope="session")
def lava() -> Interpreter:
    """The interpreter; without one the test is skipped, unless the environment names one."""
    try:
        return find_interpreter()
    except LavaMissingError:
        if os.environ.get(VARIABLE):
            raise
        pytest.skip("Lava is not installed: run `make lava`")
