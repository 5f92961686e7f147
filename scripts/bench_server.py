"""Starts what the benchmark drives, each a process of its own on the loopback, and ends it again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple

import click

from scripts.bench_bets import CURRENCY, MEMBER, OPENING_CASH, PLAYERS, PROVIDER, TOKEN
from scripts.demo_side import environ
from scripts.ports import free_port

SERVE = ("-c", "from scripts.cli import main; main()", "serve")
START_S, STOP_S = 30, 10


@contextmanager
def service(
    *, folder: Path, log_requests: bool = False, store: str | None = None, second: bool = False
) -> Iterator[int]:
    """Runs `roundbook serve`, on a new file where no store is named, with funded players; yields its port.

    `second`: there is one on this store already, which funded them and keeps the audit file.
    """
    named: dict[str, Any] = {"log_requests": log_requests, "store": store, "keep": not second}
    with served(folder=folder, **named) as found:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(partial(_fund, found.port), () if second else PLAYERS))
        yield found.port


class Served(NamedTuple):
    """A service that is ready: its port, its first process, and what it took to start."""

    port: int
    process: int
    start_s: float


@contextmanager
def served(
    *, folder: Path, store: str | None = None, log_requests: bool = False, keep: bool = True
) -> Iterator[Served]:
    """Runs `roundbook serve` as it is; `keep`: with an audit file beside it."""
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made:
        port, config = free_port(), Path(made, "roundbook.toml")
        at = store or f"sqlite:///{made}/book.db"
        config.write_text(_config(at, folder=made, log_requests=log_requests, keep=keep))
        arguments = (*SERVE, "--config", str(config), "--port", str(port))
        began = time.perf_counter()
        with _running(arguments, port=port, folder=Path(made)) as process:
            yield Served(port, process, time.perf_counter() - began)


@contextmanager
def no_op(threads: int, *, folder: Path) -> Iterator[int]:
    """Runs the no-op application; yields its port."""
    with TemporaryDirectory(prefix="roundbook-bench-", dir=folder) as made:
        port = free_port()
        arguments = ("-m", "scripts.bench_noop", str(port), str(threads))
        with _running(arguments, port=port, folder=Path(made)):
            yield port


@contextmanager
def wallet() -> Iterator[int]:
    """Runs the benchmark's wallet; yields its port."""
    command = ("-m", "scripts.bench_wallet")
    with _process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


def answer_of(module: str, *arguments: object) -> Any:
    """Returns what a module of ours, run as a process, prints as JSON. Raises ClickException."""
    command = ("-m", module, *map(str, arguments))
    with _process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said, complaint = process.communicate()
    if process.returncode:
        raise click.ClickException(f"{module}: {complaint.decode(errors='replace').strip()}")
    return json.loads(said)


@contextmanager
def _running(arguments: Sequence[str], *, port: int, folder: Path) -> Iterator[int]:
    with (
        Path(folder, "log").open("wb") as log,
        _process(arguments, stdout=log, stderr=log) as process,
    ):
        if not _ready(process, port):
            said = Path(folder, "log").read_text(errors="replace")[-2000:]
            raise click.ClickException(f"{' '.join(arguments)} did not start:\n{said}")
        yield process.pid


@contextmanager
def _process(
    arguments: Sequence[str], *, stdout: IO[bytes] | int, stderr: IO[bytes] | int
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs our Python as leader of a process group, so that it ends with all its children."""
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
        [sys.executable, *arguments],
        env=environ(),
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Waits for an answer; the no-op knows no such path, and is ready when it says so."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as asked:
            if _status(asked, "GET", "/readyz") in (200, 404):
                return True
        time.sleep(0.01)
    return False


def _fund(port: int, player: str) -> None:
    wallet = f"/api/wallets/{player}/{CURRENCY}"
    cash = json.dumps({"reference": f"opening-{player}", "amount": OPENING_CASH})
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        _status(connection, "PUT", wallet)
        if _status(connection, "POST", f"{wallet}/deposits", cash) != 200:
            raise click.ClickException(f"no cash for {wallet}")


def _status(connection: HTTPConnection, method: str, path: str, body: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    response.read()
    return response.status


def _config(store: str, *, folder: str, log_requests: bool, keep: bool) -> str:
    return f"""store = "{store}"
admin.token = "{TOKEN}"
audit.folder = "{folder}"
audit.keep = {str(keep).lower()}
[server]
log_requests = {str(log_requests).lower()}
[[provider]]
id = "{PROVIDER}"
dialect = "lucky-monaco-v4"
member = "{MEMBER}"
token = "{TOKEN}"
"""
