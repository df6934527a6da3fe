"""The command line that all benchmarks share: typed options, one message for an error."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from neuro.errors import NeuroError


class CheckFailedError(NeuroError):
    """A measured figure does not hold what is claimed of it."""


def main(function: Callable[..., Any]) -> None:
    """Run ``function`` with the options of the command line, and exit."""
    sys.exit(run(function, sys.argv[1:]))


def run(function: Callable[..., Any], arguments: Sequence[str]) -> int:
    """Run ``function`` with ``arguments``; return the exit code."""
    app = App(default_command=function, default_parameter=Parameter(negative=()))
    try:
        app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _fail(str(error), 2)
    except NeuroError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("Stopped.", 130)
    return 0


def say(text: str) -> None:
    """Tell a person how it goes, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _fail(message: str, code: int) -> int:
    say(f"benchmarks: {message}")
    return code
