import asyncio
import threading
from types import SimpleNamespace

import pytest

from api.loop import Service, Turns


class Protocol:
    def response_bytes(self, _status, _headers, body):
        self.answered_by = body.decode()


def thread_that_answers(method, path, *, remote=False):
    def app(_, start):
        start("200 OK", [])
        return [threading.current_thread().name.encode()]

    async def ask():
        await service.__rsgi__(asked, protocol)
        service.__rsgi_del__(asyncio.get_running_loop())

    service, protocol = Service(app, lambda: None, Turns(), remote=remote), Protocol()
    asked = SimpleNamespace(
        proto="http",
        method=method,
        path=path,
        headers={"content-length": "0"},
        query_string="",
        scheme="http",
        server="127.0.0.1:8080",
        client="127.0.0.1:1",
    )
    asyncio.run(ask())
    return protocol.answered_by


LOOP = threading.main_thread().name
LISTS = ["/V4/history/GetGameRounds", "/v4/HISTORY/getgamerounds", "//V4/history/GetGameRounds"]


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("path", LISTS)
def test_a_long_list_of_rounds_that_an_operator_asks_for_holds_up_no_bet(path, remote):
    assert thread_that_answers("POST", path, remote=remote) != LOOP


@pytest.mark.parametrize("path", ["/api/events", "/audit/rounds", "/readyz"])
def test_what_people_look_at_holds_up_no_bet(path):
    assert thread_that_answers("GET", path) != LOOP


@pytest.mark.parametrize("path", ["/V4/Balance", "/v1/Check", "/v4/GetRoundStatus"])
def test_a_short_look_goes_aside_where_the_book_is_on_another_machine(path):
    assert thread_that_answers("POST", path) == LOOP
    assert thread_that_answers("POST", path, remote=True) != LOOP


@pytest.mark.parametrize("path", ["/V4/Balance", "/v4/GetRoundStatus"])
def test_long_lists_take_no_thread_of_a_short_look(path):
    asked = (thread_that_answers("POST", each, remote=True) for each in (LISTS[0], path))
    long, short = (name.rpartition("_")[0] for name in asked)

    assert long != short


@pytest.mark.parametrize("path", ["/V4/Bet", "/api/provider/rounds/1/bets", "/V4/cancelround"])
def test_what_writes_waits_at_the_loop(path):
    assert thread_that_answers("POST", path) == LOOP
    assert thread_that_answers("POST", path, remote=True) == LOOP
