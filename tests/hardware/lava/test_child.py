"""The child process always ends, tells why it failed, and leaves nothing behind."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from neuro.hardware.lava.interpreter import LavaMissingError
from neuro.hardware.lava.run import LavaError, run
from tests.hardware.lava.build import neurons, one_layer

ROOT = Path(__file__).resolve().parents[3]
LAYER = one_layer([[2, -2]], neurons())
INPUTS = {"in": np.zeros((2, 1, 2), np.int32)}


def segments() -> set[str]:
    """Return the shared memory of this machine that Python made."""
    folder = Path("/dev/shm")
    return {each.name for each in folder.glob("psm_*")} if folder.is_dir() else set()


def left_behind(before: set[str], seconds: float = 10.0) -> set[str]:
    """Return segments that came since, and that no process uses: not now, and not soon."""
    deadline = time.monotonic() + seconds
    while True:
        new = segments() - before
        used = set()
        for path in Path("/proc").glob("[0-9]*/maps"):
            with contextlib.suppress(OSError):
                maps = path.read_text()
                used |= {name for name in new if name in maps}
        if not new - used or time.monotonic() > deadline:
            return new - used
        time.sleep(0.05)


def processes(word: str) -> list[int]:
    """Return the processes with a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if word.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def gone(word: str, seconds: float = 10.0) -> bool:
    """Tell whether no process has the word in its command line, or soon none has."""
    deadline = time.monotonic() + seconds
    while processes(word) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes(word)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where jobs are, so that their processes can be told from those of others."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return str(tmp_path)


@pytest.fixture
def stand_in(tmp_path):
    """Make an interpreter that says it has Lava, and then does what it is told by a script."""

    def make(script: str, lava_dl: str = '"0.6.0"') -> Path:
        path = tmp_path / "python"
        path.write_text(
            "#!/bin/sh\n"
            'if [ "$1" = -c ]; then\n'
            f"""  echo '["3.11.7", "0.10.0", {lava_dl}, "2.4.6"]'; exit\n"""
            "fi\n" + textwrap.dedent(script)
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def test_a_child_that_hangs_is_ended_with_all_it_started(stand_in):
    python = stand_in(
        """
        sleep 99277331 &
        echo waiting for a message that never comes
        sleep 99277331
        """
    )
    started = time.monotonic()
    with pytest.raises(LavaError, match=r"sample 0: it had not finished after 0\.5 s") as caught:
        run(LAYER, INPUTS, python=python, timeout=0.5)
    assert time.monotonic() - started < 15
    assert "a message that never comes" in str(caught.value)
    assert gone("99277331", 0)


def test_a_child_that_does_not_want_to_end_is_killed(stand_in, monkeypatch):
    monkeypatch.setattr("neuro.hardware.lava.run._GOODBYE_S", 0.3)
    python = stand_in("trap '' TERM\nwhile true; do sleep 0.99277332; done\n")
    with pytest.raises(LavaError, match="had not finished"):
        run(LAYER, INPUTS, python=python, timeout=0.3)
    assert gone("0.99277332", 0)


def test_a_child_that_fails_tells_the_end_of_its_log(stand_in):
    python = stand_in("seq 1 100\necho something broke >&2\nexit 3\n")
    with pytest.raises(LavaError, match="its process ended with 3") as caught:
        run(LAYER, INPUTS, python=python)
    assert "something broke" in str(caught.value)
    assert "\n70\n" not in str(caught.value)
    assert "\n70\n" in caught.value.log


def test_a_traceback_ends_the_run_at_once(stand_in):
    python = stand_in('echo "ValueError: from a model" > failure.txt\nsleep 99277333\n')
    with pytest.raises(LavaError, match="one of its processes raised") as caught:
        run(LAYER, INPUTS, python=python, timeout=100)
    assert "ValueError: from a model" in str(caught.value)
    assert gone("99277333", 0)


def test_an_interrupt_ends_the_child(stand_in):
    python = stand_in(f"sleep 1; kill -INT {os.getpid()}; sleep 99277334\n")
    with pytest.raises(KeyboardInterrupt):
        run(LAYER, INPUTS, python=python, timeout=100)
    assert gone("99277334", 0)


def test_netx_needs_lava_dl(stand_in):
    with pytest.raises(LavaMissingError, match="has no lava-dl"):
        run(LAYER, INPUTS, python=stand_in("exit 1\n", lava_dl="null"), engine="netx")


def test_what_a_process_model_raises_comes_back_and_nothing_stays(lava, folder):
    before = segments()
    layer = one_layer([[2, -2]], neurons(), delay=[[70, 0]])
    started = time.monotonic()
    with pytest.raises(LavaError, match="one of its processes raised") as caught:
        run(layer, INPUTS, python=lava.path, check=False, timeout=100)
    assert time.monotonic() - started < 60
    assert "DelayDense Process 'delays' expects values between 0 and 63" in str(caught.value)
    assert "Traceback" in str(caught.value)
    assert gone(folder, 0)
    assert left_behind(before) == set()


@pytest.mark.slow
def test_a_clean_run_leaves_nothing(lava, folder):
    before = segments()
    run(LAYER, {"in": np.zeros((2, 3, 2), np.int32)}, python=lava.path)
    assert gone(folder, 0)
    assert left_behind(before) == set()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_parent_that_ends_takes_lava_with_it(lava, how, tmp_path):
    """Whatever ends it, and however little it can do about it."""
    before = segments()
    script = """
import numpy as np
from neuro.hardware.lava.run import run
from tests.hardware.lava.build import neurons, one_layer
layer = one_layer(np.full((50, 50), 2), neurons(), steps=100000)
run(layer, {"in": np.zeros((2, 1, 50), np.int32)}, timeout=300)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NEURO_LAVA_PYTHON": str(lava.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**environment, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not segments() - before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert segments() - before, "Lava never started"
        parent.send_signal(how)
        parent.wait(timeout=60)
    finally:
        parent.kill()
        parent.wait()
    assert gone(str(tmp_path), 20)
    assert left_behind(before) == set()
