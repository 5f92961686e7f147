"""The demo's two sides: their configurations, and `roundbook serve`'s own code as processes to kill.

Run as a module it is such a process. Its clock may stand days ahead, for what happens only after months.

Example: python -m scripts.demo_side provider/roundbook.toml --days 91
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import click

from api.configuration import load
from ledger.moments import utc_now
from ledger.provider.book import Book
from ledger.provider.house import PROVIDER_ID, Dialect
from ledger.provider.retention import Sweeper
from ledger.store import open_store
from projections.provider import IN_TRANSACTION
from scripts import sweep
from scripts.demo_wire import Wire, wire
from scripts.ports import free_port
from scripts.service import prepare, run

ROOT = Path(__file__).resolve().parent.parent
CONFIG, BOOK, LOG = "roundbook.toml", "book.db", "log"
START_S, STOP_S = 30, 10
POLL_S = 0.03


# what both sides agree on


class Relation(NamedTuple):
    """What an operator and the provider know one another by, in one dialect."""

    login: str
    dialect: Dialect
    wallet_token: str
    token: str
    secret: str

    @property
    def provider(self) -> str:
        """The id under which the operator's wallet knows the provider."""
        return PROVIDER_ID[self.dialect]


class Tokens(NamedTuple):
    """What opens a side's back office; `game`: what the games show the provider."""

    admin: str
    auditor: str
    game: str


def new_relations() -> list[Relation]:
    """Returns one operator's relation in each dialect, with tokens that were never used."""
    logins: dict[str, Dialect] = {"acme": "lucky-monaco-v4", "acme-kyren": "kyren-v1"}
    return [
        Relation(
            login=login, dialect=dialect, wallet_token=_token(), token=_token(), secret=_token()
        )
        for login, dialect in logins.items()
    ]


def _token() -> str:
    return secrets.token_hex(8)


# the processes


class Ran(NamedTuple):
    """What a command of ours said on standard output, and its exit status."""

    said: str
    status: int


def roundbook(arguments: str, folder: Path) -> Ran:
    """Runs the `roundbook` command in a folder, as a person would."""
    return _ran("scripts.cli", *arguments.split(), folder=folder)


def _ran(module: str, *arguments: object, folder: Path) -> Ran:
    done = subprocess.run(  # noqa: S603  (our own interpreter and arguments)
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder,
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        raise click.ClickException(f"{module}: {done.stderr.strip()}")
    return Ran(done.stdout.strip(), done.returncode)


def environ(more: Mapping[str, str] = {}) -> dict[str, str]:
    """Returns our environment without the settings of another roundbook."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("ROUNDBOOK_")}
    path = os.pathsep.join(filter(None, (str(ROOT), ours.get("PYTHONPATH"))))
    return {**ours, "PYTHONPATH": path, **more}


class Side:
    """A server in a folder; `overrides` go before its file. Its process leads a group, and ends with it."""

    def __init__(self, folder: Path, port: int, overrides: Mapping[str, str] = {}) -> None:
        self.name, self.port = folder.name, port
        self.tokens = Tokens(admin=_token(), auditor=_token(), game=_token())
        self.config, self.book, self.log = folder / CONFIG, folder / BOOK, folder / LOG
        self._environ = environ(overrides)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def configure(self, config: str) -> None:
        """Makes its folder, with the configuration that it starts with."""
        self.config.parent.mkdir()
        self.config.write_text(config, encoding="utf-8")

    def start(self, *, days: int = 0) -> None:
        """Starts it with its clock so many days ahead; returns once it is ready. Raises ClickException."""
        self.launch(days=days)
        self.await_ready()

    def launch(self, *, days: int = 0) -> None:
        """Starts it; it may not be ready yet."""
        command = ("-m", "scripts.demo_side", str(self.config), "--days", str(days))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and arguments)
                [sys.executable, *command],
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Waits until it answers. Raises ClickException."""
        end = time.monotonic() + START_S
        while not self.ready():
            if time.monotonic() > end or self._process is None or self._process.poll() is not None:
                said = self.log.read_text(errors="replace")[-2000:]
                raise click.ClickException(f"the {self.name} did not start:\n{said}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """Ends it as a power cut would, with its children."""
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()

    def stop(self) -> None:
        """Lets it end, and sees that it did."""
        if self._process is None:
            return
        try:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        finally:
            self.kill()

    def confirm_sweep(self, *, days: int) -> Ran:
        """Does what `roundbook sweep --confirm` does, by a clock so many days ahead."""
        command = (self.config, "--days", days, "--confirm-sweep")
        return _ran("scripts.demo_side", *command, folder=self.config.parent)

    def ready(self) -> dict[str, Any]:
        """Returns what /readyz says, nothing where the side does not answer or is not ready."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            try:
                connection.request("GET", "/readyz")
                response = connection.getresponse()
                said: dict[str, Any] = json.loads(response.read())
                return said if response.status == 200 else {}
            except (OSError, HTTPException):
                return {}


# the configurations


def operator_config(side: Side, relations: Sequence[Relation]) -> str:
    """Returns the operator's roundbook.toml."""
    providers = [
        f"""
[[provider]]
id = "{relation.provider}"
dialect = "{relation.dialect}"
member = "{relation.login}"
token = "{relation.wallet_token}"
"""
        for relation in relations
    ]
    return _server(side, store=side.book) + "".join(providers)


def provider_config(
    side: Side, relations: Sequence[Relation], *, wallet: Side, sweep_cap: int
) -> str:
    """Returns the provider's roundbook.toml: impatient, so that an evening takes seconds."""
    operators = [
        f"""
[[operator]]
secure_login = "{relation.login}"
token = "{relation.token}"
secret = "{relation.secret}"
wallet_url = "{wallet.url}"
allow_private = true
dialect = "{relation.dialect}"
member = "{relation.login}"
wallet_token = "{relation.wallet_token}"
timeout_s = 1
retries = 6
result_retries = 6
backoff_s = 0.05
parked_retry_s = 1
"""
        for relation in relations
    ]
    book = f"""
[provider_book]
store = {_quoted(f"sqlite:///{side.book}")}
token = "{side.tokens.game}"
sweep_every_s = 0.5
sweep_cap = {sweep_cap}
"""
    # a provider keeps no wallets, but every service opens an operator's book
    unused = side.book.with_name("wallets.db")
    return _server(side, store=unused) + book + "".join(operators)


def wallet_over(port: int, relations: Sequence[Relation]) -> dict[str, str]:
    """Returns what overrides a provider's file so that it reaches the wallets over another port."""
    return {
        f"ROUNDBOOK_OPERATOR_{relation.login.upper().replace('-', '_')}_WALLET_URL": (
            f"http://127.0.0.1:{port}"
        )
        for relation in relations
    }


def _server(side: Side, *, store: Path) -> str:
    return f"""# The {side.name}'s half of a demo. Again: roundbook serve --config {side.config}
store = {_quoted(f"sqlite:///{store}")}

[server]
port = {side.port}

[admin]
token = "{side.tokens.admin}"

[auditor]
token = "{side.tokens.auditor}"
"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# both sides


class Stage(NamedTuple):
    """Both sides, what they know one another by, and the wire between them."""

    folder: Path
    relations: list[Relation]
    operator: Side
    provider: Side
    wire: Wire

    def start(self) -> None:
        """Starts both sides, at once. Raises ClickException."""
        for side in (self.operator, self.provider):
            side.launch()
        for side in (self.operator, self.provider):
            side.await_ready()


@contextmanager
def set_up(folder: Path, *, sweep_cap: int, seed: int) -> Iterator[Stage]:
    """Yields a stage in an empty folder, configured and not started; its processes end with the block."""
    relations = new_relations()
    operator = Side(folder / "operator", free_port())
    with wire(to=operator.port, seed=seed) as between:
        # the file has the operator's own address: it is to serve when the wire is gone
        provider = Side(folder / "provider", free_port(), wallet_over(between.port, relations))
        operator.configure(operator_config(operator, relations))
        provider.configure(
            provider_config(provider, relations, wallet=operator, sweep_cap=sweep_cap)
        )
        try:
            yield Stage(folder, relations, operator, provider, between)
        finally:
            for side in (provider, operator):
                side.stop()


# the process itself


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--days", default=0, help="By which its clock stands ahead.")
@click.option("--confirm-sweep", is_flag=True, help="Do not serve; confirm the sweep.")
def main(config: Path, days: int, *, confirm_sweep: bool) -> None:
    """Serves, or confirms what the sweep stopped at."""
    clock = partial(_ahead, days)
    if confirm_sweep:
        _confirm_sweep(config, clock)
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = load(config)
    prepare(settings)  # who keeps an audit file finds a book
    run(settings, now=clock)


def _ahead(days: int) -> datetime:
    return utc_now() + timedelta(days=days)


def _end_with_parent() -> None:
    """The demo holds the other end of our input: it closes when the demo ends, however that happens."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os.killpg(os.getpid(), signal.SIGKILL)


def _confirm_sweep(config: Path, clock: partial[datetime]) -> None:
    settings = load(config)
    assert settings.provider_book is not None
    store = open_store(settings.provider_book.store, IN_TRANSACTION, create=False)
    with closing(Book(store, settings.provider_house(), now=clock)) as book:
        sweeper = Sweeper(book, cap=settings.provider_book.sweep_cap)
        sweeper.confirm()
        swept = sweeper.sweep()
    click.echo(sweep.said(swept))


if __name__ == "__main__":
    main()
