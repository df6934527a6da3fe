"""The ``neuro`` command. Each command lives in a file of its own, imported when it is called.

Exit codes: 0 done, 1 failed, 2 wrong use, 128 + signal when a signal stopped it. Results go to
stdout, progress and errors to stderr.
"""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from neuro import __version__
from neuro.errors import NeuroError

app = App(
    name="neuro",
    help="Train spiking neural networks online, with OPZO and the rules it is compared with.",
    version=__version__,
    default_parameter=Parameter(negative=(), show_default=False),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)

# The help is given here so that `neuro --help` imports no command, and so no torch.
app.command(
    "neuro.cli.train:train",
    name="train",
    help="Train a classifier (bptt, ottt, dfa, dkp, zo, opzo) or a graph reasoner (grsnn, nbfnet).",
)
app.command(
    "neuro.cli.evaluate:evaluate",
    name="evaluate",
    help="Evaluate a checkpoint of a run on the test set.",
)
app.command(
    "neuro.cli.reason:reason",
    name="reason",
    help="Ask a trained graph reasoner for missing facts, and why it answers so.",
)
app.command(
    "neuro.cli.export:export",
    name="export",
    help="Export a trained network to Loihi, Lava, netx or NIR, with samples to prove it.",
)
app.command(
    "neuro.cli.verify:verify",
    name="verify",
    help="Prove an export: every register of every step, in the simulator and in Lava.",
)
app.command(
    "neuro.cli.energy:energy",
    name="energy",
    help="Estimate what a network costs: by layer, by hardware, with a band, beside fair networks.",
)
app.command(
    "neuro.cli.compare:compare",
    name="compare",
    help="Put runs side by side: accuracy, parameters, operations, energy, latency.",
)
app.command("neuro.cli.runs:runs", name="runs", help="List run folders and how they stand.")
app.command(
    "neuro.cli.models:models",
    name="models",
    help="List architectures with their parameters and neurons.",
)
app.command(
    "neuro.cli.datasets:datasets",
    name="datasets",
    help="List data sets: what is present, size, licence and source.",
)
app.command(
    "neuro.cli.doctor:doctor",
    name="doctor",
    help="Show versions, kernels and what is missing, with the command that gets it.",
)


def main() -> None:
    """Run the command line and exit.

    Idle OpenMP threads sleep rather than spin, unless ``OMP_WAIT_POLICY`` says otherwise: where the
    cores are shared with other work, spinning threads keep each other from running. It must be
    set before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; failures are told in one message on stderr."""
    try:
        app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(str(error), 2)
    except NeuroError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("Stopped.", 130)
    except BrokenPipeError:  # the reader of a pipe has gone, as `neuro runs | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if type(error).__module__.startswith("neuro."):  # says what to do, like a NeuroError
            return _fail(str(error), 1)
        raise
    return 0


def _fail(message: str, code: int) -> int:
    print(f"neuro: {message}", file=sys.stderr)
    return code
