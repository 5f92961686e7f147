"""Who follows a book in PostgreSQL is told that it grew; what gets lost on the way is found by looking.

It is told after the commit, on a connection of its own that waits for no disk and no copy: a notification
inside the transaction holds one lock for all books of a server until the copies have answered.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

TELL_EVERY_S = 0.05
TRY_AGAIN_S = 1.0
DEAF_S = 30.0
"""Who cannot be listened to is not asked again for so long."""

END_S = 1.0
WITHOUT_WAITING = "-c synchronous_commit=off"

Connect = Callable[[str], psycopg.Connection[Any]]
"""Returns a new connection, with more options."""


class Teller:
    """Tells that a book grew, however often, so many times a second at most."""

    def __init__(self, connect: Connect, channel: str) -> None:
        self._connect, self._channel = connect, channel
        self._grown, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self) -> None:
        """Has it told soon; waits for nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="teller", daemon=True)
            self._thread.start()
        if not self._grown.is_set():
            self._grown.set()

    def close(self) -> None:
        """Tells what is not told yet, and nothing more."""
        self._closed.set()
        self._grown.set()
        if self._thread:
            self._thread.join(END_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with self._connect(WITHOUT_WAITING) as connection:
                    self._tell_on(connection)
            except psycopg.Error:
                self._grown.set()  # it is told on the next connection
                self._closed.wait(TRY_AGAIN_S)

    def _tell_on(self, connection: psycopg.Connection[Any]) -> None:
        last = False
        while not last and self._grown.wait():
            self._grown.clear()
            last = self._closed.is_set()
            connection.execute(f'notify "{self._channel}"')
            self._closed.wait(TELL_EVERY_S)


class Listener:
    """Waits until a book grew. For one thread."""

    def __init__(self, connect: Connect, channel: str) -> None:
        self._connect, self._channel = connect, channel
        self._connection: psycopg.Connection[Any] | None = None
        self._deaf_until = 0.0

    def wait(self, seconds: float) -> bool:
        """Returns True once it is told, False after so many seconds: whoever follows looks then too.

        A copy cannot be listened to, nor a server that is gone: there it returns False.
        """
        until = time.monotonic() + seconds
        try:
            if self._deaf_until < until and self._told(seconds):
                return True
        except psycopg.Error:
            self.close()
            self._deaf_until = until + DEAF_S
        time.sleep(max(0.0, until - time.monotonic()))
        return False

    def _told(self, seconds: float) -> bool:
        if self._connection is None:
            self._connection = self._connect("")
            self._connection.execute(f'listen "{self._channel}"')
            return True  # it may have grown before anybody listened
        return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    def close(self) -> None:
        """Listens no more."""
        if self._connection:
            self._connection.close()
            self._connection = None
