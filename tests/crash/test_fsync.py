import shutil

import pytest

from tests.crash.books import check_the_book
from tests.crash.load import PLAYERS, Load
from tests.http.server import Server, until

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")

CALLS = "fsync,fdatasync"


def failing_from(call):
    return [
        *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}"),
        *("-e", f"inject={CALLS}:error=EIO:when={call}+"),
    ]


@pytest.mark.parametrize("call", [40, 90])
def test_a_flush_that_fails_stops_the_process_and_loses_nothing_acknowledged(tmp_path, seed, call):
    broken = Server(tmp_path, wrapped_in=failing_from(call))
    try:
        broken.start()
        broken.fund(*PLAYERS)
        before = broken.err.read_text()
        with Load([broken], seed=seed) as load:
            until(lambda: broken.process.poll() is not None, "the process stops")
        assert broken.process.returncode != 0
        said = broken.err.read_text().removeprefix(before).splitlines()
        own = [line for line in said if line.startswith("roundbook:")]
        assert len(own) == 1
        assert "flush" in own[0]
        assert not [line for line in said if "Traceback" in line]
    finally:
        broken.kill()

    assert load.surprises == []
    check_the_book(tmp_path / "book.db", load.acknowledged)
    mended = Server(tmp_path, name="mended")
    try:
        mended.start()
        with Load([mended], seed=f"{seed}-after") as after:
            until(lambda: after.sent >= 50, "the load is on")
        assert mended.stop() == 0
    finally:
        mended.kill()
    check_the_book(tmp_path / "book.db", load.acknowledged | after.acknowledged)


def test_one_flush_that_fails_once_is_enough_to_stop(tmp_path, seed):
    once = [*failing_from(60)[:-1], f"inject={CALLS}:error=EIO:when=60"]
    broken = Server(tmp_path, wrapped_in=once)
    try:
        broken.start()
        broken.fund(*PLAYERS)
        with Load([broken], seed=seed) as load:
            until(lambda: broken.process.poll() is not None, "the process stops")
        assert broken.process.returncode != 0
    finally:
        broken.kill()

    assert load.surprises == []
    check_the_book(tmp_path / "book.db", load.acknowledged)
