"""Three PostgreSQL nodes under Patroni and etcd, on the loopback, that can be lost, frozen and got back."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any
from urllib.request import Request, urlopen

import psycopg
import pytest

from scripts.private_postgres import USER, unprivileged
from tests import postgres
from tests.http.server import free_port, until

NAMES = ("one", "two", "three")
SCOPE = "roundbook"
NO_ETCD = "no etcd is found: scripts/patroni installs one"
START_S = 60
ANSWER_S = 1

# Strict: without it a leader that is left alone goes on by itself, and says nothing.
QUORUM = {"synchronous_mode": "quorum", "synchronous_mode_strict": True}
ASYNCHRONOUS = {"synchronous_mode": False, "synchronous_mode_strict": False}

POLICY: dict[str, Any] = {
    **QUORUM,
    "ttl": 20,  # Patroni takes no less
    "loop_wait": 1,
    "retry_timeout": 3,
    # A leader whose PostgreSQL crashed hands over: what was acknowledged another node has.
    "primary_start_timeout": 0,
}
PARAMETERS: dict[str, Any] = {
    "max_connections": 100,
    # What pg_rewind needs, by which an old leader becomes a follower.
    "wal_log_hints": True,
}


class Program:
    """A process of the unprivileged user, in a session and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, unprivileged())
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*as_unprivileged(), *command],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.runs:
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(START_S)


def as_unprivileged() -> tuple[str, ...]:
    """Python may stand in a folder that is root's alone: whoever runs it may enter any."""
    if os.geteuid() != 0:
        return ()
    user, only = pwd.getpwnam(unprivileged()), "=-all,+dac_override"
    return (
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps{only}", f"--ambient-caps{only}", "--"),
    )


class Etcd(Program):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clients, self.peers = (f"127.0.0.1:{free_port()}" for _ in range(2))

    def start(self) -> None:
        peers = f"http://{self.peers}"
        self.run(
            *("etcd", "--name=one", f"--data-dir={self.folder}/data", "--log-level=error"),
            *(f"--listen-client-urls=http://{self.clients}", f"--listen-peer-urls={peers}"),
            *(f"--advertise-client-urls=http://{self.clients}", f"--initial-cluster=one={peers}"),
            f"--initial-advertise-peer-urls={peers}",
        )
        soon(lambda: ask(f"http://{self.clients}/health"), "etcd answers")

    def end_lease(self, key: str) -> None:
        """Does now what etcd does once the time that a lease is good for has passed."""
        named = {"key": b64encode(key.encode()).decode()}
        (found,) = ask(f"http://{self.clients}/v3/kv/range", named)["kvs"]
        assert ask(f"http://{self.clients}/v3/lease/revoke", {"ID": found["lease"]})


class Node(Program):
    """A Patroni, and the PostgreSQL that it keeps."""

    def __init__(self, folder: Path, etcd: Etcd) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.api = f"127.0.0.1:{free_port()}"
        self._config = folder / "patroni.json"
        self._config.write_text(json.dumps(self._document(etcd)))

    def _document(self, etcd: Etcd) -> dict[str, Any]:
        initdb = [{"encoding": "UTF8"}, {"locale": "C"}, "no-sync"]
        return {
            "scope": SCOPE,
            "name": self.folder.name,
            "etcd3": {"hosts": [etcd.clients]},
            "restapi": {"listen": self.api, "connect_address": self.api},
            "bootstrap": {"dcs": POLICY, "initdb": initdb},
            "postgresql": self._postgresql(),
        }

    def _postgresql(self) -> dict[str, Any]:
        address, anyone = f"127.0.0.1:{self.port}", {"username": USER}
        return {
            "listen": address,
            "connect_address": address,
            "bin_dir": str(postgres.BINARIES[0]),
            "data_dir": str(self.folder / "data"),
            "pgpass": str(self.folder / "pgpass"),
            "use_pg_rewind": True,
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "authentication": {"superuser": anyone, "replication": anyone},
            "pg_hba": [f"{kind} trust" for kind in HBA],
            "parameters": {**PARAMETERS, "unix_socket_directories": str(self.folder)},
        }

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self.run(sys.executable, "-m", "patroni", str(self._config))

    def processes(self) -> list[int]:
        """PostgreSQL's: each works in the folder of the data."""
        return working_in(self.folder / "data")

    def senders(self) -> list[int]:
        """The processes that send to the other nodes what is written here."""
        return [each for each in self.processes() if "walsender" in command_of(each)]

    # faults

    def lose(self) -> None:
        """Kills all of it, as a machine that loses its power would."""
        self.kill()
        kill_all(lambda: working_in(self.folder))
        self.crash()

    def crash(self) -> None:
        """Kills PostgreSQL alone."""
        kill_all(self.processes)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)
        signal_each(self.processes(), signal.SIGSTOP)

    def thaw(self) -> None:
        signal_each(self.processes(), signal.SIGCONT)
        self.signal(signal.SIGCONT)

    def heal(self) -> None:
        self.thaw()
        if not self.runs:
            self.start()

    # questions

    @property
    def leads(self) -> bool:
        found = ask(f"http://{self.api}/primary")
        return bool(found) and found["role"] == "primary"

    @property
    def follows(self) -> bool:
        return bool(ask(f"http://{self.api}/replica"))

    @property
    def names_nobody(self) -> bool:
        """Whether PostgreSQL waits for whoever will come, or for nobody at all."""
        with psycopg.connect(self.url) as connection:
            named = connection.execute("show synchronous_standby_names").fetchone()
        return named in (("ANY 1 (*)",), ("",))

    @property
    def may_take_over(self) -> bool:
        return bool(ask(f"http://{self.api}/quorum"))


HBA = ("local all all", "host all all 127.0.0.1/32", "host replication all 127.0.0.1/32")


class Cluster:
    """All three, and the etcd by which they agree on a leader."""

    def __init__(self, folder: Path) -> None:
        self.etcd = Etcd(folder / "etcd")
        self.nodes = [Node(folder / name, self.etcd) for name in NAMES]

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    @property
    def url(self) -> str:
        return url_of(self.ports)

    def start(self) -> None:
        self.etcd.start()
        for node in self.nodes:
            node.start()
        self.heal()

    def kill(self) -> None:
        for program in (*self.nodes, self.etcd):
            program.signal(signal.SIGKILL)
        for node in self.nodes:
            node.lose()
        self.etcd.kill()

    def leader(self) -> Node:
        found: Node = soon(
            lambda: next((node for node in self.nodes if node.leads), None), "one leads"
        )
        return found

    def bring_back(self) -> None:
        """Starts what was lost, and lets go on what was frozen."""
        for node in self.nodes:
            node.heal()

    def heal(self) -> None:
        """Brings back what is not there, and waits until each of the others may take over."""
        self.bring_back()
        soon(self._is_whole, "the cluster is whole")

    def _is_whole(self) -> bool:
        leader = self.leader()
        return all(node.follows and node.may_take_over for node in self.nodes if node is not leader)

    def lose_the_others(self) -> Node:
        """Returns the leader, once it knows that nobody is left who could wait with it."""
        leader = self.leader()
        for node in self.nodes:
            if node is not leader:
                node.lose()
        soon(lambda: leader.names_nobody, "the leader knows that it is alone")
        return leader

    def give_up_the_leader(self) -> None:
        """Has the others elect, without waiting out the time that the leader is believed in."""
        self.etcd.end_lease(f"/service/{SCOPE}/leader")

    @contextmanager
    def unreplicated(self) -> Iterator[Node]:
        """What the leader writes meanwhile no other node gets."""
        leader = self.leader()
        held = leader.senders()
        assert len(held) == len(self.nodes) - 1
        signal_each(held, signal.SIGSTOP)
        try:
            yield leader
        finally:
            signal_each(held, signal.SIGCONT)

    @contextmanager
    def asynchronous(self) -> Iterator[None]:
        """The leader waits for no other node meanwhile."""
        self.heal()
        self._adopt(ASYNCHRONOUS)
        soon(lambda: not any(n.may_take_over for n in self.nodes), "nobody is waited for")
        try:
            yield
        finally:
            self._adopt(QUORUM)

    def _adopt(self, policy: dict[str, Any]) -> None:
        assert ask(f"http://{self.leader().api}/config", policy, method="PATCH")


@contextmanager
def running() -> Iterator[Cluster]:
    if shutil.which("etcd") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_ETCD)
    with TemporaryDirectory(prefix="roundbook-ha-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        cluster = Cluster(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.kill()


def url_of(ports: list[int]) -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://{USER}@{hosts}/postgres?target_session_attrs=read-write"


def soon(holds: Callable[[], Any], what: str) -> Any:
    """Asks ten times a second: who is asked more often has less time for what is waited for."""
    return until(lambda: holds() or Event().wait(0.1), what, START_S)


def working_in(folder: Path) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if each.readlink() == folder:
                found.append(int(each.parts[2]))
    return sorted(found)


def signal_each(processes: list[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def kill_all(processes: Callable[[], list[int]]) -> None:
    """Kills them, and those that they made meanwhile."""

    def gone() -> bool:
        found = processes()
        signal_each(found, signal.SIGKILL)
        return not found

    until(gone, "they are gone")


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def ask(url: str, body: Any = None, *, method: str | None = None) -> Any:
    """Returns what was answered, None where that was no success or there was no answer."""
    data = None if body is None else json.dumps(body).encode()
    with (
        suppress(OSError, HTTPException),
        urlopen(Request(url, data, method=method), timeout=ANSWER_S) as got,
    ):
        return json.loads(got.read())
    return None
