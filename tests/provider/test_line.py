import asyncio
import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.moments import utc_now
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
def answering(*answers, tls=None):
    """Yields an address, and which of its connections each call came in on; over TLS where there is a context."""
    came, left = [], list(answers)

    def serve(connection, number):
        connection = tls.wrap_socket(connection, server_side=True) if tls else connection
        # who hangs up on what came behind an answer resets the connection
        with suppress(ConnectionError), connection, connection.makefile("rb") as received:
            while line := received.readline():
                size = 0
                while line.strip():
                    size = int(line[15:]) if line.lower().startswith(b"content-length:") else size
                    line = received.readline()
                received.read(size)
                came.append(number)
                say(connection, left.pop(0))

    def listen():
        with suppress(OSError):  # nobody comes any more
            for number in range(len(answers)):
                serve(listener.accept()[0], number)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}", came


# One segment, whatever its pieces; over TLS each is a record of its own.
def say(connection, pieces):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    for piece in (pieces,) if isinstance(pieces, bytes) else pieces:
        connection.sendall(piece)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


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


def test_what_comes_behind_an_answer_as_long_as_a_read_is_none_to_the_next_call():
    room = wire.MOST_BYTES - len(head(200, wire.MOST_BYTES))
    long = head(200, room) + TEXT.ljust(room)
    assert len(long) == wire.MOST_BYTES
    with answering(long + CUT, WHOLE) as (url, came):
        replies = sent(url, 2)

    assert [reply.body.rstrip() for reply in replies] == [TEXT, TEXT]
    assert came == [0, 1]


# over TLS


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def tls(request, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    secret = ec.generate_private_key(ec.SECP256R1())
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    named, now = x509.Name([]), utc_now()
    signed = (
        x509.CertificateBuilder(named, named, secret.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = request.param
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("answer", [WHOLE, CUT], ids=["whole", "in chunks"])
def test_a_connection_over_tls_is_used_again(tls, answer):
    with answering(answer, answer, answer, tls=tls) as (url, came):
        replies = sent(url, 3)

    assert [json.loads(reply.body)["error"] for reply in replies] == [0, 0, 0]
    assert came == [0, 0, 0]


@pytest.mark.parametrize("answer", [WHOLE, CUT], ids=["whole", "in chunks"])
@pytest.mark.parametrize(
    "behind", [WHOLE, CUT, WHOLE[:9], b"\n"], ids=["an answer", "one in chunks", "a part", "a line"]
)
def test_a_connection_over_tls_on_which_something_comes_behind_an_answer_is_not(
    tls, answer, behind
):
    with answering((answer, behind), WHOLE, tls=tls) as (url, came):
        replies = sent(url, 2)

    assert [reply.body for reply in replies] == [TEXT, TEXT]
    assert came == [0, 1]


def test_whom_tls_trusts_is_read_once_for_all_connections(tls, monkeypatch):
    create, made = ssl.create_default_context, []
    monkeypatch.setattr(ssl, "create_default_context", lambda: made.append("one") or create())
    last = WHOLE.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    with answering(last, last, last, tls=tls) as (url, came):
        replies = sent(url, 3)

    assert [reply.body for reply in replies] == [TEXT, TEXT, TEXT]
    assert (came, made) == ([0, 1, 2], ["one"])
