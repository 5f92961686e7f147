import random

from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.bench_spread import World, _placed, simulated


@given(st.lists(st.floats(0, 100), max_size=60), st.floats(1, 200))
def test_every_book_is_on_one_server_and_none_has_more_than_is_planned_unless_one_book_has(
    peaks, most
):
    servers = _placed(peaks, most)
    assert sorted(book for books in servers for book in books) == list(range(len(peaks)))
    for books in servers:
        assert len(books) == 1 or sum(peaks[book] for book in books) <= most * (1 + 1e-9)


@settings(max_examples=5)
@given(st.integers(1, 30), st.integers(1, 10**9), st.integers(0, 9))
def test_a_day_has_the_bets_it_was_given(operators, bets, seed):
    world = World(operators, float(bets), server=1000.0, room=0.5, lost_s=20.0)
    found = simulated(world, random.Random(seed))
    assert found.peak >= bets / 86400
    assert found.peak <= bets / 86400 * 2
    assert found == simulated(world, random.Random(seed))
