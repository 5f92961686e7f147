import json
import os
import re
import signal
import socket
from contextlib import suppress

import pytest

from ledger.store import open_store
from projections.provider import IN_TRANSACTION as PROVIDER_TABLES
from tests.books.several import (
    BOTH,
    PLAYER,
    Several,
    descendants,
    document,
    invoked,
    is_gone,
    serving,
)
from tests.http.server import roundbook, until


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("books")) as found:
        for book in found.books.values():
            book.fund()
        yield found


@pytest.fixture
def acme(standing):
    return standing.books["acme"]


@pytest.fixture
def zeta(standing):
    return standing.books["zeta"]


def listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


# a request reaches its book only


def test_each_book_answers_its_own_partner(acme, zeta):
    for book in (acme, zeta):
        answer = book.bet(f"own-{book.id}")
        assert (answer.status, answer.code) == (200, 0)


def test_a_book_refuses_the_other_ones_partner_and_records_nothing(acme, zeta):
    for book, other in ((acme, zeta), (zeta, acme)):
        heads = book.head, other.head
        assert book.bet("stray", pair=other.pair).status == 401
        assert (book.head, other.head) == heads


def test_a_book_refuses_the_other_ones_tokens_and_records_nothing(acme, zeta):
    for book, other in ((acme, zeta), (zeta, acme)):
        before = book.head
        for role in ("admin", "auditor"):
            token = f"{other.id}-{role}"
            assert book.send("GET", "/api/events", token=token).status == 401
            assert book.send("PUT", "/api/wallets/7/USD", token=token).status == 401
        assert book.head == before


def test_the_events_of_one_book_are_not_in_the_other(acme, zeta):
    acme.bet("only in acme", roundId="round-of-acme")

    assert "only in acme" in json.dumps(acme.events())
    assert "of-acme" not in json.dumps(zeta.events())


def test_one_reference_may_be_in_both_books(acme, zeta):
    ids = {book.bet("in both", roundId="in-both").json["transactionId"] for book in (acme, zeta)}

    assert len(ids) == 1
    for book in (acme, zeta):
        assert sum(each["body"].get("reference") == "in both" for each in book.events()) == 1


def test_a_line_a_book_says_its_id_and_where_it_is(standing):
    lines = standing.out.read_text().splitlines()

    assert [line.split(":")[0] for line in lines] == list(BOTH)
    for line, book in zip(lines, standing.books.values(), strict=True):
        assert f"http://127.0.0.1:{book.port} " in line
        assert f"{book.id}.db" in line


# who dies comes back, and takes nobody along


@pytest.mark.parametrize("which", [0, -1], ids=["the first", "the one that answers"])
def test_a_book_whose_process_is_killed_comes_back_while_the_other_goes_on(
    standing, acme, zeta, which
):
    acme.bet("before", roundId="kept")
    family = standing.family_of("acme")
    os.kill(family[which], signal.SIGKILL)
    until(lambda: all(map(is_gone, family)), "no process of it is left")

    assert zeta.bet(f"meanwhile {which}").code == 0
    ready = []
    until(lambda: ready.append(zeta.ready) or acme.ready, "it is back")

    assert all(ready)
    before = [each for each in acme.events() if each["body"].get("reference") == "before"]
    assert len(before) == 1
    assert acme.bet("before", roundId="kept").code == 0
    assert '"kind":"BookEnded","detail":"book acme ended' in standing.err.read_text()


def test_a_book_that_cannot_come_back_is_tried_again_and_the_other_goes_on(standing, acme, zeta):
    file, away = standing.folder / "acme.db", standing.folder / "away.db"
    first, *_ = standing.family_of("acme")
    told_before = standing.err.read_text()
    file.rename(away)
    file.mkdir()
    os.kill(first, signal.SIGKILL)

    until(lambda: "roundbook: book acme: store: " in standing.err.read_text(), "it is told")
    assert zeta.bet("all the same").code == 0
    file.rmdir()
    away.rename(file)

    until(lambda: acme.ready, "it is back")
    assert acme.bet("afterwards").code == 0
    told = standing.err.read_text().removeprefix(told_before)
    pauses = re.findall(r"begun again in ([0-9.]+) s", told)
    assert len(set(pauses)) > 1
    assert pauses == sorted(pauses, key=float)


def test_a_book_whose_file_went_away_is_not_begun_anew(standing, acme, zeta):
    acme.bet("of the file", roundId="of the file")
    before, away = len(acme.events()), standing.folder / "gone"
    away.mkdir()
    first, *_ = standing.family_of("acme")
    for file in [*standing.folder.glob("acme.db*")]:
        file.rename(away / file.name)
    os.kill(first, signal.SIGKILL)

    until(lambda: "/acme.db was there, and is gone" in standing.err.read_text(), "it is told")
    assert not (standing.folder / "acme.db").exists()
    assert zeta.bet("though one is away").code == 0
    for file in [*away.iterdir()]:
        file.rename(standing.folder / file.name)

    until(lambda: acme.ready, "it is back")
    assert len(acme.events()) == before


# the end


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_all_end_with_the_one_that_was_started(tmp_path, sign):
    with serving(tmp_path, document(tmp_path, audit={"keep": True})) as several:
        family = descendants(several.process.pid)
        assert len(family) == 6

        several.process.send_signal(sign)

        assert several.process.wait(30) == (-sign if sign == signal.SIGKILL else 0)
        until(lambda: all(map(is_gone, family)), "no process is left")
        assert not any(listens(book.port) for book in several.books.values())
        assert several.err.read_text() == ""


def test_a_terminal_that_is_closed_ends_no_book(tmp_path):
    with serving(tmp_path, document(tmp_path, audit={"keep": True})) as several:
        first = descendants(several.process.pid)

        os.killpg(several.process.pid, signal.SIGHUP)

        until(lambda: sum(map(is_gone, first)) == 2, "every book has another worker")
        until(lambda: len(descendants(several.process.pid)) == 6, "and one only")
        assert all(book.ready for book in several.books.values())
        several.process.terminate()
        assert several.process.wait(30) == 0
        assert several.err.read_text() == ""


# what cannot be served


def test_where_one_book_cannot_be_served_none_is_and_one_sentence_says_which(tmp_path):
    said = document(tmp_path)
    said["book"][1]["store"] = "sqlite:///nowhere/at/all.db"

    done = roundbook("serve", "--config", Several(tmp_path, said).config, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("roundbook: book zeta: store: ")
    assert done.stderr.count("\n") == 1


def test_where_a_port_is_taken_one_sentence_says_whose(tmp_path):
    several = Several(tmp_path)
    with socket.create_server(("127.0.0.1", several.books["zeta"].port)):
        done = roundbook("serve", "--config", several.config, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("roundbook: book zeta: server.port: cannot listen on")


# --book


def logged(several):
    lines = map(json.loads, several.err.read_text().splitlines())
    return [(line["book"], line["reference"]) for line in lines if "reference" in line]


def test_each_line_of_the_log_says_of_which_book_it_is(tmp_path):
    said = document(tmp_path, server={"log_requests": True})
    with serving(tmp_path, said) as several:
        for book in several.books.values():
            book.fund(PLAYER)
            book.bet(f"of {book.id}")
        assert {("acme", "of acme"), ("zeta", "of zeta")} <= {*logged(several)}


def test_a_book_that_is_named_is_served_alone_and_may_be_elsewhere(tmp_path):
    said = document(tmp_path, server={"log_requests": True})
    with serving(tmp_path, said, ["--book", "zeta"], waits_for=["zeta"]) as several:
        several.books["zeta"].fund(PLAYER)
        assert several.books["zeta"].bet("b").code == 0
        assert ("zeta", "b") in logged(several)
        assert not listens(several.books["acme"].port)
        assert len(descendants(several.process.pid)) == 1
    assert not (tmp_path / "acme.db").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serve", "--book", "acne"], "--book: there is no acne, but acme, zeta"),
        (["serve", "--port", "8080"], "--port: is for one book; --book names it: acme, zeta"),
        (["serve", "--store", "sqlite:///x"], "--store: is for one book"),
        (["deliveries"], "--book: which one of acme, zeta?"),
        (["deliveries", "--book", "acme"], "provider_book: there is none"),
        (["sweep"], "--book: which one of acme, zeta?"),
    ],
)
def test_who_needs_one_book_is_told_which_there_are(tmp_path, arguments, told):
    done = invoked(*arguments, "--config", Several(tmp_path).config)

    assert done.stdout == ""
    assert str(done.exception).startswith(told)
    assert list(tmp_path.glob("*.db")) == []


def test_a_verb_reads_the_book_that_is_named(tmp_path):
    said = document(tmp_path)
    for each in said["book"]:
        each["provider_book"] = {
            "store": f"sqlite:///{tmp_path}/{each['id']}-provider.db",
            "token": f"{each['id']}-games",
        }
        open_store(each["provider_book"]["store"], PROVIDER_TABLES).close()
    (tmp_path / "acme-provider.db").unlink()
    given = "deliveries", "--json", "--config", Several(tmp_path, said).config

    zeta, acme = (invoked(*given, "--book", id_) for id_ in ("zeta", "acme"))

    assert (zeta.exit_code, zeta.stdout) == (0, "[]\n")
    assert "acme-provider.db" in str(acme.exception)


def test_there_is_nothing_to_name_where_a_file_has_no_books(tmp_path):
    file = tmp_path / "roundbook.toml"
    file.write_text('[admin]\ntoken = "a"\n')

    done = invoked("serve", "--config", file, "--book", "acme")

    assert str(done.exception) == f"--book: there is no [[book]] in {file}"
