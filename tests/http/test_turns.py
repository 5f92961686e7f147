import asyncio
from collections import deque

from api.loop import GreenletLatch, Turns
from tests.http.server import PATIENCE_S


class Outrun(deque):
    """Whoever finds that it is empty is outrun by the writer, who releases one more."""

    def __init__(self, release):
        super().__init__()
        self._release = [release]

    def __bool__(self):
        holds = len(self) > 0
        if not holds and self._release:
            self._release.pop()()
        return holds


def test_who_is_released_while_the_last_is_let_go_does_not_wait_for_the_next():
    async def both():
        turns = Turns()
        first, second = GreenletLatch(turns), GreenletLatch(turns)
        turns._released = Outrun(second.release)
        first.release()
        ended = asyncio.gather(first._ended, second._ended)
        return await asyncio.wait_for(ended, PATIENCE_S)

    assert asyncio.run(both()) == [True, True]
