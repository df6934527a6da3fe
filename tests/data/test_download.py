"""Downloads from a real server on this machine: good, broken, slow and absent."""

import gzip
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from neuro.data.download import fetch
from neuro.data.entry import LoadRequest, RemoteFile
from neuro.data.mnist import MNIST, IdxFile, load
from neuro.data.partial import STALE_AFTER_S
from neuro.errors import DataError

CONTENT = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """/good; /short promises more than it sends; /slow sends a part and waits; else 404."""

    contents: dict[str, bytes]
    requests: list[str]
    released: threading.Event

    def do_GET(self) -> None:
        self.requests.append(self.path)
        content = self.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path == "/short":
            self.wfile.write(content[:1000])
        elif self.path == "/slow":
            self.wfile.write(content[:100000])
            self.wfile.flush()
            self.released.wait(60)
        else:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[tuple[str, type[Handler]]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handles(Handler):
        contents = {"/good": CONTENT, "/short": CONTENT, "/slow": CONTENT}  # noqa: RUF012
        requests: list[str] = []  # noqa: RUF012
        released = threading.Event()

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handles)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}", Handles
    Handles.released.set()
    running.shutdown()
    thread.join()
    running.server_close()


def remote(base: str, path: str = "/good", **changes: object) -> RemoteFile:
    file = RemoteFile(
        "data.bin", base + path, len(CONTENT), f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    )
    return replace(file, **changes)  # type: ignore[arg-type]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(
    "checksum",
    [
        f"md5:{hashlib.md5(CONTENT).hexdigest()}",
        f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
        None,
    ],
)
def test_a_good_file_is_announced_checked_and_kept(server, tmp_path, capsys, checksum):
    folder = tmp_path / "cache" / "toy"
    file = remote(server[0], checksum=checksum)
    fetch("toy", "CC BY 4.0", [file], folder)
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert listing(folder) == ["data.bin"]
    announced = capsys.readouterr().err
    for fact in (file.url, "256,000 bytes", checksum or "no checksum", "CC BY 4.0", str(folder)):
        assert fact in announced


def test_a_file_that_is_there_is_not_asked_for_again(server, tmp_path):
    base, handler = server
    for _ in range(2):
        fetch("toy", "MIT", [remote(base)], tmp_path)
    assert handler.requests == ["/good"]


def test_the_kept_file_is_readable_by_others(server, tmp_path):
    fetch("toy", "MIT", [remote(server[0])], tmp_path)
    assert (tmp_path / "data.bin").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("/good", {"size": 5}, "expected 5 bytes, got 256,000"),
        ("/good", {"checksum": "md5:" + "0" * 32}, "expected md5 0{32}, got [0-9a-f]{32}"),
        ("/good", {"checksum": "sha256:" + "0" * 64}, "expected sha256 0{64}, got [0-9a-f]{64}"),
        ("/short", {}, "could not download|expected 256,000 bytes, got 1,000"),
        ("/absent", {}, "404"),
    ],
)
def test_a_bad_file_is_not_kept(server, tmp_path, path, changes, message):
    file = remote(server[0], path, **changes)
    with pytest.raises(DataError, match=message) as raised:
        fetch("toy", "MIT", [file], tmp_path)
    assert listing(tmp_path) == []
    for fact in (file.url, str(tmp_path), "data.bin"):
        assert fact in str(raised.value)


def test_no_server_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = remote(f"http://127.0.0.1:{port}")
    second = replace(file, name="second.bin")
    with pytest.raises(DataError, match="could not download") as raised:
        fetch("toy", "MIT", [file, second], tmp_path / "toy")
    assert listing(tmp_path / "toy") == []
    for fact in (file.url, f"put into {tmp_path / 'toy'}", "data.bin", "second.bin", "--data-dir"):
        assert fact in str(raised.value)


def test_the_first_of_two_files_stays_when_the_second_fails(server, tmp_path):
    base, handler = server
    second = remote(base, "/later", name="second.bin")
    with pytest.raises(DataError, match="404"):
        fetch("toy", "MIT", [remote(base), second], tmp_path)
    assert listing(tmp_path) == ["data.bin"]
    handler.contents["/later"] = CONTENT
    fetch("toy", "MIT", [remote(base), second], tmp_path)
    assert handler.requests == ["/good", "/later", "/later"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_nothing_that_counts(server, tmp_path, number):
    base, handler = server
    script = (
        "import sys; from pathlib import Path\n"
        "from neuro.data.download import fetch\n"
        "from neuro.data.entry import RemoteFile\n"
        "fetch('toy', 'MIT', [RemoteFile('data.bin', sys.argv[1])], Path(sys.argv[2]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, f"{base}/slow", str(tmp_path)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    handler.released.set()
    assert not (tmp_path / "data.bin").exists()
    if number == signal.SIGINT:
        assert listing(tmp_path) == []
    # A killed process cannot clean up: the next call does, once the leftover is old enough.
    long_ago = time.time() - STALE_AFTER_S - 60
    for path in tmp_path.iterdir():
        os.utime(path, (long_ago, long_ago))
    fetch("toy", "MIT", [remote(base)], tmp_path)
    assert listing(tmp_path) == ["data.bin"]


def test_a_folder_that_cannot_be_made_names_the_variable(server, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write to .*NEURO_DATA_DIR"):
        fetch("toy", "MIT", [remote(server[0])], blocked / "toy")


def test_files_behind_a_form_are_not_attempted(server, tmp_path):
    base, handler = server
    file = remote(base, direct=False)
    with pytest.raises(DataError, match="no direct download") as raised:
        fetch("toy", "MIT", [file], tmp_path)
    assert file.url in str(raised.value)
    assert handler.requests == []


def test_a_data_set_downloads_what_is_missing_and_loads(server, tmp_path, capsys):
    base, handler = server
    shapes = ((4, 28, 28), (4,), (2, 28, 28), (2,))
    files = []
    for number, (file, shape) in enumerate(zip(MNIST.files, shapes, strict=True)):
        header = bytes((0, 0, 8, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape)
        content = header + np.full(shape, number, dtype=np.uint8).tobytes()
        packed = gzip.compress(content)
        handler.contents[f"/{file.remote.name}"] = packed
        published = RemoteFile(
            file.remote.name,
            f"{base}/{file.remote.name}",
            len(packed),
            f"md5:{hashlib.md5(packed).hexdigest()}",
        )
        files.append(IdxFile(published, shape, hashlib.md5(content).hexdigest()))
    small = replace(MNIST, files=tuple(files))  # type: ignore[arg-type]
    data = load(LoadRequest(None, tmp_path), idx_set=small)
    assert data.train.targets.tolist() == [1] * 4
    assert data.source == f"IDX files in {tmp_path / 'mnist'}"
    assert "licence: CC BY-SA 3.0" in capsys.readouterr().err
    (tmp_path / "mnist" / files[3].remote.name).unlink()
    load(LoadRequest(None, tmp_path), idx_set=small)
    assert handler.requests == [f"/{file.remote.name}" for file in (*files, files[3])]
    load(LoadRequest(None, tmp_path, download=False), idx_set=small)
