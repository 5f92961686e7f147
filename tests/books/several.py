import json
import os
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from click.testing import CliRunner

from scripts import cli
from tests.http import wire
from tests.http.server import PATIENCE_S, Connection, argv, clean, free_port, until

BOTH = ("acme", "zeta")
PLAYER, CASH = wire.PLAYER, "1000.00"


def block(id_, folder, **more):
    return {
        "id": id_,
        "store": f"sqlite:///{folder}/{id_}.db",
        "server": {"port": free_port()},
        "admin": {"token": f"{id_}-admin"},
        "auditor": {"token": f"{id_}-auditor"},
        "provider": [
            {
                "id": "LuckyMonaco",
                "dialect": "lucky-monaco-v4",
                "member": "casino",
                "token": f"{id_}-token",
            }
        ],
        **more,
    }


def document(folder, *, ids=BOTH, **more):
    shared = {"server": {"log_requests": False}, "audit": {"keep": False}}
    return {**shared, **more, "book": [block(id_, folder) for id_ in ids]}


def as_toml(said):
    lines = [f"{key} = {_inline(value)}" for key, value in said.items() if key != "book"]
    for each in said["book"]:
        lines += ["[[book]]", *(f"{key} = {_inline(value)}" for key, value in each.items())]
    return "\n".join([*lines, ""])


def _inline(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value)


def invoked(*arguments):
    """What a verb does where it is called in this process: quick, and as true where nothing is served."""
    return CliRunner().invoke(cli.roundbook, list(map(str, arguments)))


def children(process):
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{process}/task/{process}/children").read_text()
        return [int(child) for child in found.split()]
    return []


def descendants(process):
    return [each for child in children(process) for each in (child, *descendants(child))]


def is_gone(process):
    with suppress(FileNotFoundError, ProcessLookupError):
        stat = Path(f"/proc/{process}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "Z"
    return True


def has_open(process, name):
    with suppress(FileNotFoundError, ProcessLookupError):
        return any(fd.readlink().name == name for fd in Path(f"/proc/{process}/fd").iterdir())
    return False


class Book:
    def __init__(self, said):
        self.id, self.port = said["id"], said["server"]["port"]
        self.pair = f"MEMB_ID=casino&HASH={self.id}-token"

    def send(self, method, path, body=None, *, token=None):
        connection = Connection(self.port, 15)
        with connection:
            return connection.send(method, path, body, token=token or f"{self.id}-admin")

    @property
    def ready(self):
        with suppress(OSError):
            return self.send("GET", "/readyz").status == 200
        return False

    @property
    def head(self):
        return self.send("GET", "/api/head").json["position"]

    def events(self):
        return self.send("GET", "/api/events?after=0&limit=1000").json["events"]

    def fund(self, user=PLAYER):
        wallet = f"/api/wallets/{user}/USD"
        self.send("PUT", wallet)
        paid = self.send("POST", f"{wallet}/deposits", {"reference": "d", "amount": CASH})
        assert paid.status == 200

    def bet(self, reference, *, pair=None, **more):
        said = {**wire.BY_NAME["/V4", "bet"].body, "reference": reference, "amount": "1.00", **more}
        return self.send("POST", f"/V4/Bet?{pair or self.pair}", said)


class Several:
    def __init__(self, folder, said=None):
        self.folder, self.config = folder, folder / "books.toml"
        said = said or document(folder)
        self.config.write_text(as_toml(said))
        self.books = {each["id"]: Book(each) for each in said["book"]}
        self.out, self.err = folder / "books.out", folder / "books.err"
        self.process = None

    def start(self, *arguments, waits_for=None):
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                argv("serve", "--config", self.config, *arguments),
                cwd=self.folder,
                env=clean(),
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        for id_ in waits_for or self.books:
            until(lambda id_=id_: self.is_ready(id_), f"{id_} gets ready")
        return self

    def is_ready(self, id_):
        assert self.process.poll() is None, self.err.read_text()
        return self.books[id_].ready

    def family_of(self, id_):
        """Returns a book's processes: the first, and those it has begun, of which one has its store open."""
        for first in children(self.process.pid):
            family = [first, *descendants(first)]
            if any(has_open(each, f"{id_}.db") for each in family):
                return family
        raise AssertionError(f"{id_} has no process")

    def kill(self):
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


@contextmanager
def serving(folder, said=None, arguments=(), **named):
    found = Several(folder, said)
    try:
        yield found.start(*arguments, **named)
    finally:
        found.kill()
