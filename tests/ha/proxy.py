"""A wire to one server that can be cut, or lose the answer to a commit; counts the turns on it."""

import socket
import threading
from collections import Counter
from contextlib import suppress

COMMITTED = b"COMMIT\0"
FLUSH = b"H\0\0\0\4"
"""What the driver sends behind a pipeline's end, which asks for nothing."""


class Proxy:
    def __init__(self, target: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port, self._target = self._listening.getsockname()[1], target
        self.lost = 0
        self._turns: Counter[object] = Counter()
        self._asked: set[object] = set()
        self._losing = threading.Event()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    @property
    def turns(self) -> int:
        """How often it was asked on the connection that was asked most."""
        return max(self._turns.values())

    def lose_a_commit(self) -> None:
        """The next commit is made, and who asked for it gets a broken connection."""
        self._losing.set()

    def cut(self) -> None:
        """Ends every connection there is; new ones can be made."""
        self._losing.clear()
        for pair in list(self._pairs):
            self._end(pair)

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        pair = near, far
        for each in pair:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.add(pair)
        for source, sink, answers in ((near, far, False), (far, near, True)):
            threading.Thread(
                target=self._pump,
                args=(pair, source, sink),
                kwargs={"answers": answers},
                daemon=True,
            ).start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        sink: socket.socket,
        *,
        answers: bool,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and COMMITTED in data and self._losing.is_set():
                    self.lost += 1
                    break
                if data != FLUSH:
                    self._note(pair, answers=answers)
                sink.sendall(data)
        self._end(pair)

    def _note(self, pair: object, *, answers: bool) -> None:
        if answers:
            self._asked.discard(pair)
        elif pair not in self._asked:
            self._asked.add(pair)
            self._turns[pair] += 1

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._pairs.discard(pair)
        for each in pair:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
