import json
from contextlib import closing

import pytest
from click.testing import CliRunner

from scripts.rebuild import rebuild
from tests import controls
from tests.provider import examples
from tests.verify.books import behind_its_back


def run(*arguments, code):
    done = CliRunner().invoke(rebuild, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


@pytest.fixture
def store(tmp_path):
    url = f"sqlite:///{tmp_path}/book.db"
    with closing(controls.new_book(url)) as book:
        controls.fund(book)
    return url


@pytest.fixture
def config(tmp_path, store):
    file = tmp_path / "roundbook.toml"
    book = f"provider_book = {{store = 'sqlite:///{tmp_path}/provider.db', token = 'g'}}\n"
    file.write_text(f"store = '{store}'\nadmin.token = 'a'\n{book}")
    examples.new_book(f"sqlite:///{tmp_path}/provider.db", now=examples.Clock()).close()
    return file


def test_a_rebuild_and_its_check_name_the_store_they_speak_of(store):
    assert run("--store", store, code=0) == f"2 rows of {store} derived from 2 events\n"
    agrees = f"every table of {store} agrees with all 2 events\n"
    assert run("--check", "--store", store, code=0) == agrees
    assert json.loads(run("--check", "--store", store, "--json", code=0)) == {
        "store": store,
        "position": 2,
        "differences": [],
    }


def test_a_check_names_the_store_that_differs(tmp_path, store):
    with behind_its_back(tmp_path / "book.db") as connection:
        connection.execute("update wallets set cash = cash + 1")

    said = run("--check", "--store", store, code=1)

    assert said.startswith(f"1 differ in {store}, at position 2\n")


def test_a_check_names_the_configured_store_of_either_party(tmp_path, store, config):
    provider = f"sqlite:///{tmp_path}/provider.db"

    assert store in run("--check", "--config", config, code=0)
    assert provider in run("--check", "--config", config, "--party", "provider", code=0)


def test_a_check_tells_no_password(postgres):
    url = postgres.new_book()
    controls.new_book(url).close()

    said = run("--check", "--store", url.replace("postgres@", "postgres:canary@"), code=0)

    assert "postgresql://" in said
    assert "canary" not in said
