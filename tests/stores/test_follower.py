import subprocess
import sys
from contextlib import closing

import pytest

from ledger.store import open_store
from tests import controls
from tests.http.server import until
from tests.http.wire import ROOT

WRITERS, BETS = 4, 60
WRITER = """
import sys
from tests import controls
url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
book = controls.new_book(url)
for number in range(count):
    reference = f"{name}-{number}"
    book.submit(controls.place_bet(reference=reference, round_id=reference, amount="1.00"))
book.close()
"""


@pytest.fixture(params=["sqlite", "postgres", "newest_postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/book.db"
    return request.getfixturevalue(request.param).new_book()


def test_a_follower_sees_every_position_once_while_many_processes_write(url):
    with closing(controls.new_book(url)) as book:
        controls.fund(book)
    command = [sys.executable, "-c", WRITER, url]
    writers = [
        subprocess.Popen([*command, f"w{number}", str(BETS)], cwd=ROOT) for number in range(WRITERS)
    ]
    seen = []
    with closing(open_store(url, read_only=True)) as reader:

        def follow():
            page = reader.records(after=seen[-1] if seen else 0, limit=50)
            seen.extend(record.id for record in page)
            return not page and all(writer.poll() is not None for writer in writers)

        until(follow, "every writer is done, and all was read", patience_s=60)
        assert reader.head().position == len(seen)
    assert [writer.wait() for writer in writers] == [0] * WRITERS
    assert seen == list(range(1, 2 + 2 * WRITERS * BETS + 1))
