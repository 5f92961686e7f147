import asyncio
import json
import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from ledger.provider import wire
from ledger.provider.events import Call, DeliveryRefused, RefundConfirmed
from tests.http.server import until
from tests.provider.crooked import code, head
from tests.provider.table import LM, Table, new_remote

ROUNDS = ("first", "second")
TEXT = b'{"error":0,"description":"Success"}'
WHOLE = head(200, len(TEXT)) + TEXT
IN_CHUNKS = head(200, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
CUT = b"%s5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (IN_CHUNKS, TEXT[:5], len(TEXT) - 5, TEXT[5:])


def says_it_twice(call):
    call.forward()
    call.send(2 * (head(200, len(call.text)) + call.text))


def test_an_answer_that_comes_twice_is_none_to_the_next_call(tmp_path):
    with Table(tmp_path, concurrency=1) as table:
        for round_id in ROUNDS:
            table.bet(f"bet of the {round_id}", round_id)
        table.settle()
        table.wallet.on("Cancel", says_it_twice, code(999))
        for round_id in ROUNDS:
            table.cancel(round_id)
        until(lambda: len(table.ends("refund", "bet of the second")) == 1, "both are answered")

        assert [event.round for event in table.of(RefundConfirmed)] == ["first"]
        assert [event.round for event in table.of(DeliveryRefused)] == ["second"]
        table.retry("refund", "bet of the second")
        table.settle()
        table.check()


def test_what_never_comes_to_an_answer_is_not_read_to_its_end():
    with answering(50_000 * b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE) as (url, _):
        (answer,) = sent(url, 1)

    assert (answer.outcome, answer.code) == ("invalid", None)


@contextmanager
def answering(*answers):
    """Yields an address, and which of its connections each call came in on."""
    came, left = [], list(answers)

    def serve(connection, number):
        # who hangs up on what came behind an answer resets the connection
        with suppress(ConnectionError), connection, connection.makefile("rb") as received:
            while line := received.readline():
                size = 0
                while line.strip():
                    size = int(line[15:]) if line.lower().startswith(b"content-length:") else size
                    line = received.readline()
                received.read(size)
                came.append(number)
                connection.sendall(left.pop(0))

    def listen():
        with suppress(OSError):  # nobody comes any more
            for number in range(len(answers)):
                serve(listener.accept()[0], number)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", came


def sent(url, calls):
    async def send():
        line = wire.Wire(new_remote(LM, url))
        try:
            return [await line.send(Call(path="/v4/Cancel", body="{}")) for _ in range(calls)]
        finally:
            await line.close()

    return asyncio.run(send())


@pytest.mark.parametrize("answer", [WHOLE, CUT], ids=["whole", "in chunks"])
def test_a_connection_whose_answers_end_where_they_should_is_used_again(answer):
    with answering(answer, answer, answer) as (url, came):
        replies = sent(url, 3)

    assert [json.loads(reply.body)["error"] for reply in replies] == [0, 0, 0]
    assert came == [0, 0, 0]


@pytest.mark.parametrize("answer", [WHOLE, CUT], ids=["whole", "in chunks"])
@pytest.mark.parametrize(
    "behind",
    [WHOLE, CUT, WHOLE[:9], b"\n", b"\n" * (1 << 20)],
    ids=["an answer", "one in chunks", "a part of one", "a line", "a megabyte"],
)
def test_a_connection_on_which_something_comes_behind_an_answer_is_not(answer, behind):
    with answering(answer + behind, WHOLE) as (url, came):
        replies = sent(url, 2)

    assert [reply.body for reply in replies] == [TEXT, TEXT]
    assert came == [0, 1]
