import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

from scripts.ports import free_port as free_port
from tests.http import wire

PATIENCE_S = 30


def until(holds, what, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{what}: not within {patience_s} s")


def as_toml(document):
    tables, lines = [], []
    for key, value in document.items():
        if isinstance(value, dict):
            tables += [f"[{key}]", *(f"{k} = {json.dumps(v)}" for k, v in value.items())]
        elif isinstance(value, list):
            for block in value:
                tables += [f"[[{key}]]", *(f"{k} = {json.dumps(v)}" for k, v in block.items())]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join([*lines, *tables, ""])


def argv(*arguments):
    return [sys.executable, "-m", "scripts.cli", *map(str, arguments)]


def clean(environ=None):
    """Our environment without the settings of another roundbook."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("ROUNDBOOK_")}
    return {**ours, "PYTHONPATH": str(wire.ROOT), **(environ or {})}


def roundbook(*arguments, folder=None, environ=None):
    return subprocess.run(
        argv(*arguments),
        cwd=folder,
        env=clean(environ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


class Server:
    def __init__(self, folder, document=None, *, name="server", wrapped_in=(), environ=None):
        self.port, self.folder, self.name = free_port(), folder, name
        document = document or wire.document(f"sqlite:///{folder}/book.db")
        self.config = folder / f"{name}.toml"
        self.config.write_text(as_toml(document))
        self.out, self.err = folder / f"{name}.out", folder / f"{name}.err"
        self._wrapped_in, self._environ = wrapped_in, environ
        self.options = ()
        self.process = None

    def start(self, *, ready=True):
        serve = argv("serve", "--config", self.config, "--port", self.port, *self.options)
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [*self._wrapped_in, *serve],
                cwd=self.folder,
                env=clean(self._environ),
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        if ready:
            until(self.is_ready, "the server gets ready")
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.err.read_text()
        try:
            return self.get("/readyz").status == 200
        except OSError:
            return False

    def stop(self, patience_s=PATIENCE_S):
        self.process.terminate()
        return self.process.wait(patience_s)

    def kill(self):
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def connect(self, timeout_s=15):
        return Connection(self.port, timeout_s)

    def send(self, method, path, body=None, *, token=None):
        with self.connect() as connection:
            return connection.send(method, path, body, token=token)

    def get(self, path, token=wire.ADMIN):
        return self.send("GET", path, token=token)

    def events(self):
        found, page = [], {"has_more": True, "next": 0}
        with self.connect() as connection:
            while page["has_more"]:
                path = f"/api/events?after={page['next']}&limit=1000"
                page = connection.send("GET", path, token=wire.ADMIN).json
                found += page["events"]
        return found

    def fund(self, *users, amount="1000000.00", token=wire.ADMIN):
        with self.connect() as connection:
            for user in users:
                path = f"/api/wallets/{user}/USD"
                connection.send("PUT", path, token=token)
                body = {"reference": f"open {user}", "amount": amount}
                assert connection.send("POST", f"{path}/deposits", body, token=token).status == 200

    def workers(self):
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children) as found:
            return [int(child) for child in found.read().split()]


class Connection:
    def __init__(self, port, timeout_s):
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._http.close()

    def send(self, method, path, body=None, *, token=None):
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http.request(method, path, data, headers)
        got = self._http.getresponse()
        return wire.Answered(got.status, got.read(), got.headers)

    def call(self, path, body):
        return self.send("POST", f"{path}?{wire.pair_of(path)}", body)


@contextmanager
def serving(folder, document=None, **named):
    server = Server(folder, document, **named)
    try:
        yield server.start()
    finally:
        server.kill()
