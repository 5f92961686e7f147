import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from tests.http.server import free_port, until

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
NO_POSTGRES = "no PostgreSQL is found: scripts/postgres installs one"
UNPRIVILEGED = "postgres"


class Cluster:
    """A PostgreSQL server of its own, on the loopback."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port = folder, free_port()
        self._options = " ".join(
            [f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1", *options]
        )

    @property
    def url(self) -> str:
        return f"postgresql://{UNPRIVILEGED}@127.0.0.1:{self.port}/postgres"

    def new_book(self) -> str:
        return f"{self.url}?schema=book_{uuid4().hex}"

    def make(self) -> None:
        if os.geteuid() == 0:  # the server refuses to be root
            shutil.chown(self.folder, UNPRIVILEGED)
        self.run("initdb", "-A", "trust", "-U", UNPRIVILEGED, "-E", "UTF8", "--locale=C", "-N")

    def start(self) -> None:
        self.run("pg_ctl", "-o", self._options, "-l", str(self.folder / "log"), "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-m", mode, "-w", "stop")

    def kill(self) -> None:
        """Kills the server with all its processes, as a machine that loses its power would."""
        first = self.processes()[0]
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{first}").exists(), "the server is gone")

    def processes(self) -> list[int]:
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text()
        return [first, *map(int, children.split())]

    def freeze(self, number: int) -> None:
        for process in self.processes():
            os.kill(process, number)

    def run(self, program: str, *arguments: str) -> str:
        unprivileged = ("runuser", "-u", UNPRIVILEGED, "--") if os.geteuid() == 0 else ()
        command = [*unprivileged, str(BINARIES[0] / program), "-D", str(self.folder / "data")]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def running(*options: str) -> Iterator[Cluster]:
    if not BINARIES:
        pytest.skip(NO_POSTGRES)
    with TemporaryDirectory(prefix="roundbook-postgres-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        cluster = Cluster(folder, *options)
        cluster.make()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("immediate")
