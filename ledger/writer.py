"""The single writer: all waiting commands are taken together, decided, and committed once.

One thread writes; a caller of the library who is alone takes its turn instead, which spares it two
changes of thread. Nothing is answered before its commit. A batch that meets another process's write is rolled back
whole and its commands are decided again, one by one.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from queue import Empty, SimpleQueue
from typing import Generic, NoReturn, Protocol, TypeVar

from eventsourcing.persistence import IntegrityError, PersistenceError

from ledger.refusals import Breakdown, Busy, OutcomeUnknown
from ledger.store import FlushFailed, Store

C = TypeVar("C")
R = TypeVar("R")

MOST_WAITING = 1024
MOST_IN_A_BATCH = 256
TRIES_ALONE = 3
GATHER_S = 50e-6
"""What the callers of a shared batch get to ask again together; one caller alone waits for nothing."""


CALM_AFTER = 16
"""Commands alone in their batch, until a caller counts as alone again."""


class Latch(Protocol):
    """What one caller waits at until its outcome is there; shut when it is made."""

    def acquire(self, *, timeout: float) -> bool:
        """Returns True once it is released, False where that takes longer than so many seconds."""

    def release(self) -> None:
        """Lets the caller go on; called once, by the writer's thread."""


def thread_latch() -> Latch:
    """Returns a latch at which a thread sleeps."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class _Call(Generic[C, R]):
    """Commands that one caller waits for together."""

    __slots__ = ("_ticket", "behind", "commands", "done", "left", "outcomes")

    done: Latch

    def __init__(self, commands: Sequence[C]) -> None:
        self.commands = commands
        self.behind: _Call[C, R] | None = None
        """Whose caller is let go by this one's."""
        self.left = False
        self.outcomes: Sequence[R | Exception] = ()
        self._ticket = [True]

    def take(self) -> bool:
        """Returns True to the one who asks first: the writer to decide it, or its caller to leave."""
        try:
            return self._ticket.pop()
        except IndexError:
            return False


def _let_go(call: _Call[C, R] | None) -> None:
    """Lets a caller go on, who lets the one behind go; whoever has left does not any more."""
    while call is not None:
        with suppress(RuntimeError):  # it was let go already
            call.done.release()
        call = call.behind if call.left else None


class Writer(Generic[C, R]):
    """Hands commands, many together, to `commit`, which makes their outcomes durable or raises.

    With a `latch` of its caller's, everyone waits at one, and no longer than the deadline. Without,
    a caller who is alone commits by itself, and waits for the store however long that takes.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[C]], Sequence[R | Exception]],
        *,
        most_waiting: int = MOST_WAITING,
        deadline_s: float = Store.deadline_s,
        latch: Callable[[], Latch] | None = None,
        on_defect: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._commit = commit
        self._most_waiting = most_waiting
        self._deadline_s = deadline_s
        self._on_defect = on_defect
        self._latch = latch
        self._closed = False
        self._proven = False
        self._told: str | None = None
        self._turn = threading.Lock()
        self._shared = 0
        self._waiting: SimpleQueue[_Call[C, R] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, command: C) -> R:
        """Returns the outcome once it is durable.

        Raises the refusal it came to; Busy when the queue is full or the deadline passed before it
        was taken, so that nothing was recorded; OutcomeUnknown when the store failed or was too slow:
        the same reference finds out.
        """
        (outcome,) = self.submit_many((command,))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit_many(self, commands: Sequence[C]) -> Sequence[R | Exception]:
        """Returns what each command came to, in their order, once all are durable: one's refusal is its own.

        Raises as `submit` does, of all of them.
        """
        if not commands:
            return ()
        if self._closed or self._waiting.qsize() >= self._most_waiting:
            raise Busy("too many commands are waiting")
        call: _Call[C, R] = _Call(commands)
        if not self._settled_by_its_caller(call):
            self._wait(call)
        if len(call.outcomes) < len(commands):  # the writer ended on its way
            raise _unknown()
        return call.outcomes

    def _settled_by_its_caller(self, call: _Call[C, R]) -> bool:
        if self._latch or self._shared or self._turn.locked():
            return False
        # not `acquire` in the question above: an interrupt right behind it would leave the turn taken for ever
        with self._turn:
            self._settle([call])
        return True

    def _wait(self, call: _Call[C, R]) -> None:
        call.done = (self._latch or thread_latch)()
        released = False
        try:
            self._waiting.put(call)
            released = call.done.acquire(timeout=self._deadline_s)
        finally:
            call.left = not released
            _let_go(call.behind)
        if not released:
            raise Busy("not decided in time") if call.take() else _unknown()

    @property
    def alive(self) -> bool:
        """Whether the writer's thread still runs."""
        return self._thread.is_alive()

    def prove(self, try_write: Callable[[], None]) -> None:
        """Tries to write, unless the last commit went well. Raises PersistenceError."""
        if self._proven:
            return
        try:
            try_write()
        except FlushFailed as failure:
            _stop(failure)
        self._proven = True

    def close(self) -> None:
        """Stops once everything that waits is answered."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        with self._turn:  # whoever took it is done
            pass

    def _run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._take()
            try:
                with self._turn:
                    self._settle(batch)
            finally:
                self._release(batch)
            self._shared = CALM_AFTER if len(batch) > 1 else max(0, self._shared - 1)
            if len(batch) > 1:
                time.sleep(GATHER_S)

    def _release(self, batch: list[_Call[C, R]]) -> None:
        """Lets callers go on: threads one by the other, for together they would wake to wait for each other."""
        if self._latch:
            for call in batch:
                call.done.release()
            return
        for call, behind in pairwise(batch):
            call.behind = behind
        _let_go(batch[0] if batch else None)

    def _take(self) -> tuple[list[_Call[C, R]], bool]:
        batch: list[_Call[C, R]] = []
        size, call = 0, self._waiting.get()
        try:
            while call is not None:
                if call.take():
                    batch.append(call)
                    size += len(call.commands)
                if size >= MOST_IN_A_BATCH:
                    return batch, False
                call = self._waiting.get_nowait()
        except Empty:
            return batch, False
        return batch, True

    def _settle(self, batch: list[_Call[C, R]]) -> None:
        if not batch:
            return
        try:
            self._decide(batch)
        except FlushFailed as failure:
            _stop(failure)
        except IntegrityError:
            self._settle_alone(batch)
        except PersistenceError as failure:
            self._give_up(batch, failure)
        except Exception as defect:  # noqa: BLE001  (one caller's defect must not stop the rest)
            self._report(defect)
            self._settle_alone(batch)

    def _decide(self, batch: list[_Call[C, R]]) -> None:
        commands = [command for call in batch for command in call.commands]
        outcomes, first = self._commit(commands), 0
        if len(outcomes) != len(commands):
            raise ValueError(f"{len(outcomes)} outcomes of {len(commands)} commands")
        self._proven = True
        for call in batch:
            last = first + len(call.commands)
            call.outcomes, first = outcomes[first:last], last

    def _settle_alone(self, batch: list[_Call[C, R]]) -> None:
        for call in batch:
            call.outcomes = [self._alone(command) for command in call.commands]

    def _alone(self, command: C) -> R | Exception:
        failure: Exception | None = None
        for _ in range(TRIES_ALONE):
            try:
                (outcome,) = self._commit([command])
            except FlushFailed as failed:
                _stop(failed)
            except IntegrityError as conflict:
                failure = conflict
                self._report(conflict)
            except Exception as defect:  # noqa: BLE001  (one caller's defect must not stop the rest)
                failure = defect
                self._report(defect)
                break
            else:
                self._proven = True
                return outcome
        return _unknown(failure)

    def _give_up(self, batch: list[_Call[C, R]], failure: Exception) -> None:
        """Tells of the same failure once, until something was written: a log may lie on the disk that is full."""
        for call in batch:
            call.outcomes = [_unknown(failure) for _ in call.commands]
        if self._proven or self._told != str(failure):
            self._report(failure)
        self._proven, self._told = False, str(failure)

    def _report(self, failure: Exception) -> None:
        """A log that cannot be written must not stop the writer."""
        with suppress(Exception):
            self._on_defect(failure)


def _unknown(failure: Exception | None = None) -> Breakdown:
    breakdown = OutcomeUnknown("ask again with the same reference")
    breakdown.__cause__ = failure
    return breakdown


def _stop(failure: Exception) -> NoReturn:
    """Ends the process: after a failed flush only recovery can tell what is on the disk."""
    sys.stderr.write(
        f"roundbook: the disk did not flush ({failure}); stopping, restart to recover\n"
    )
    sys.stderr.flush()
    os._exit(70)
