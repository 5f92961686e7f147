import http.client
import json
import socket
import struct
import threading
import time
import zlib
from collections import defaultdict, deque
from contextlib import suppress
from functools import wraps
from http import HTTPStatus
from typing import NamedTuple

from scripts.ports import held_port

PULSE_S = 0.02
PATIENCE_S = 10
MEGABYTE = 1 << 20
RESET = struct.pack("ii", 1, 0)
ABSENT = object()


def told(behave):
    @wraps(behave)
    def behaviour_with(*settings):
        @wraps(behave)
        def behaviour(call):
            behave(call, *settings)

        return behaviour

    return behaviour_with


# What the wallet does with one call. Until a call is forwarded its text and status are those of a
# success that never was, then those of the honest wallet.


def after(behaviour):
    def after_success(call):
        call.forward()
        behaviour(call)

    after_success.__name__ = f"after_success_{behaviour.__name__}"
    return after_success


def honest(call):
    call.forward()
    call.answer(call.text)


@told
def late(call, seconds):
    call.forward()
    call.wait(seconds)
    call.answer(call.text)


def lost(call):
    call.forward()
    call.hang_up()


def twice(call):
    call.forward()
    call.forward()
    call.answer(call.text)


def hang(call):
    call.wait()


def reset(call):
    call.reset()


@told
def status(call, code):
    call.answer(b"" if code == HTTPStatus.NO_CONTENT else call.text, status=code)


@told
def redirect(call, url, status=302):
    call.answer(call.text, f"Location: {url}", status=status)


@told
def answer(call, said):
    call.answer(said if isinstance(said, bytes) else as_json(said))


@told
def code(call, number):
    call.answer(as_json({"error": spelt(number, call.body), "description": "refused"}))


def html(call):
    call.answer(b"<!doctype html><title>200 OK</title>", kind="text/html")


def not_json(call):
    call.answer(call.text.rstrip()[:-1])


def truncated(call):
    call.send(head(200, len(call.text) + 1) + call.text)
    call.hang_up()


def megabyte(call):
    call.answer(call.text.ljust(MEGABYTE))


def gzip_bomb(call):
    packer = zlib.compressobj(level=1, wbits=31)
    packed = packer.compress(call.text)
    for _ in range(32):
        packed += packer.compress(b" " * MEGABYTE)
    call.answer(packed + packer.flush(), "Content-Encoding: gzip")


@told
def drip_headers(call, seconds_between):
    call.drip(head(200, len(call.text)), seconds_between)
    call.send(call.text)


@told
def drip_body(call, seconds_between):
    call.send(head(200, len(call.text)))
    call.drip(call.text, seconds_between)


@told
def wrong_error(call, error):
    said = without("error", json.loads(call.text))
    call.answer(as_json(said if error is ABSENT else {"error": error, **said}))


@told
def no_key(call, name):
    call.answer(as_json(without(name, call.honest_answer())))


def other_reference(call):
    said = without("reference", call.honest_answer())
    call.answer(as_json({**said, "reference": "somebody else's"}))


def other_currency(call):
    said = without("currency", call.honest_answer())
    call.answer(as_json({**said, "currency": "XTS"}))


def duplicate_keys(call):
    said = call.honest_answer()
    last = as_json({**without("error", said), "error": said["error"]})
    call.answer(b'{"error": 999, ' + last[1:])


# The honest wallet behind it: a service of this process, or a server of its own.


def via(service):
    return lambda path, body: service.send("POST", path, body, Content_Type="application/json")[:2]


def to(server):
    return lambda path, body: server.send("POST", path, body)[:2]


class Received(NamedTuple):
    path: str
    body: bytes
    at: float

    def ends_with(self, word):
        return f"/{self.path.partition('?')[0]}".casefold().endswith(f"/{word.casefold()}")


class CrookedWallet:
    def __init__(self, forward=None):
        self.errors = []
        self._forward, self._received = forward, []
        self._next, self._on, self._always = deque(), defaultdict(deque), honest
        self._threads, self._lock = [], threading.Lock()
        self._held = held_port()
        self._address = self._held.getsockname()

    def __enter__(self):
        self.open_again()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.shut()
        self._held.close()
        assert not self.errors, self.errors

    @property
    def url(self):
        return f"http://127.0.0.1:{self._address[1]}"

    @property
    def calls(self):
        with self._lock:
            return list(self._received)

    def bodies(self, path_word):
        return [call.body for call in self.calls if call.ends_with(path_word)]

    def next(self, *behaviours):
        with self._lock:
            self._next.extend(behaviours)

    def on(self, path_word, *behaviours):
        with self._lock:
            self._on[path_word].extend(behaviours)

    def always(self, behaviour):
        with self._lock:
            self._always = behaviour

    def open_again(self):
        listener = socket.create_server(self._address, backlog=128)
        listener.settimeout(PULSE_S)
        self._is_shut = threading.Event()
        self._start(self._listen, listener, self._is_shut)

    def shut(self):
        self._is_shut.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the honest wallet does not answer"
        self._threads.clear()

    def _start(self, run, *given):
        thread = threading.Thread(target=run, args=given, name="crooked wallet", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, listener, is_shut):
        with listener:
            while not is_shut.is_set():
                with suppress(TimeoutError):
                    self._start(self._serve, listener.accept()[0], is_shut)

    def _serve(self, connection, is_shut):
        line = Line(connection, is_shut)
        with connection:
            try:
                while True:
                    method, path, body = line.request()
                    behaviour = self._behaviour_for(path, body)
                    behaviour(Call(line, self._forward, method, path, body))
            except ConnectionError:
                pass
            except Exception as error:  # noqa: BLE001  (whoever closes the wallet is told)
                self.errors.append(error)

    def _behaviour_for(self, path, body):
        with self._lock:
            received = Received(path, body, time.monotonic())
            self._received.append(received)
            fitting = [queue for word, queue in self._on.items() if received.ends_with(word)]
            for queue in (*fitting, self._next):
                if queue:
                    return queue.popleft()
            return self._always


class Line:
    """One connection. Whatever it waits for, it is reset soon after the wallet is shut."""

    def __init__(self, connection, is_shut):
        connection.settimeout(PULSE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._is_shut, self._unread = connection, is_shut, b""

    def request(self):
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        lines, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *fields = lines.decode("latin-1").split("\r\n")
        headers = dict(field.casefold().split(":", 1) for field in fields)
        size = int(headers.get("content-length", 0))
        while len(self._unread) < size:
            self._receive()
        body, self._unread = self._unread[:size], self._unread[size:]
        method, path, _ = first.split(" ")
        return method, path, body

    def send(self, data):
        unsent = memoryview(data)
        while unsent:
            unsent = unsent[self._patiently(self._connection.send, unsent) :]

    def wait(self, seconds=None):
        if self._is_shut.wait(seconds):
            self.reset()

    def reset(self):
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raise ConnectionAbortedError("reset on the caller")

    def _receive(self):
        received = self._patiently(self._connection.recv, 65536)
        if not received:
            raise ConnectionAbortedError("the caller hung up")
        self._unread += received

    def _patiently(self, step, given):
        while True:
            self.wait(0)
            with suppress(TimeoutError):
                return step(given)


class Call:
    def __init__(self, line, forward, method, path, body):
        self.method, self.path, self.body = method, path, body
        self.status, self.text = 200, pretence(body)
        self.send, self.wait, self.reset = line.send, line.wait, line.reset
        self._forward = forward

    def forward(self):
        assert self._forward, f"no honest answer was expected to {self.path}"
        assert self.method == "POST", f"{self.method} {self.path}"
        self.status, self.text = self._forward(self.path, self.body)

    def honest_answer(self):
        self.forward()
        return json.loads(self.text)

    def answer(self, text, *lines, status=None, kind="application/json"):
        self.send(head(status or self.status, len(text), *lines, kind=kind) + text)

    def drip(self, data, seconds_between):
        for byte in data:
            self.send(bytes([byte]))
            self.wait(seconds_between)

    def hang_up(self):
        raise ConnectionAbortedError("hung up on the caller")


def head(status, size, *lines, kind="application/json"):
    first = f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"
    sizes = [] if status == HTTPStatus.NO_CONTENT else [f"Content-Length: {size}"]
    return "\r\n".join([first, f"Content-Type: {kind}", *sizes, *lines, "", ""]).encode()


def as_json(said):
    return json.dumps(said).encode()


def without(name, said):
    assert name in said, f"no {name} to misbehave with: {said}"
    return {key: value for key, value in said.items() if key != name}


def fields_of(body):
    return {key.casefold(): value for key, value in json.loads(body or b"{}").items()}


def spelt(error, body):
    is_refund = {"sessionid", "roundid"}.isdisjoint(fields_of(body))
    return str(error) if is_refund else error


def pretence(body):
    same = {"reference": "", "currency": "", **fields_of(body)}
    invented = {"cash": "0.00", "transactionId": "it never was"}
    kept = {key: same[key] for key in ("reference", "currency")}
    return as_json({"error": spelt(0, body), "description": "Success", **kept, **invented})
