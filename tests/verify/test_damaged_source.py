import pytest

from tests import seals
from tests.http import wire
from tests.http.server import serving
from tests.verify.books import run

BROKEN = (b"{not JSON", b"", b"[]", b'"\xff"', b"{}")


@pytest.fixture
def book(tmp_path):
    with serving(tmp_path) as server:
        server.fund(wire.PLAYER)
    return tmp_path / "book.db"


def damage(book, state, position=1):
    seals.behind(
        book,
        ("update stored_events set state = cast(? as text) where rowid = ?", (state, position)),
    )


@pytest.mark.parametrize("state", BROKEN, ids=repr)
def test_a_damaged_first_event_is_found_and_named(book, state):
    damage(book, state)
    ran = run(book)

    assert ran.exit_code == 1
    assert "position 1" in ran.output


@pytest.mark.parametrize("position", [1, 2])
@pytest.mark.parametrize("state", BROKEN[:2], ids=repr)
def test_a_damaged_event_is_found_and_named_over_http(book, tmp_path, state, position):
    damage(book, state, position)
    with serving(tmp_path, name="again") as server:
        ran = run(f"http://127.0.0.1:{server.port}", "--token", wire.AUDITOR)

    assert ran.exit_code == 1
    assert f"position {position}" in ran.output
