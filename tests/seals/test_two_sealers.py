from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fcntl import LOCK_EX, LOCK_UN, flock
from itertools import count, pairwise

import pytest
from eventsourcing.persistence import StoredEvent

from ledger.sealing import SealContradicted, Sealer, seals_of
from ledger.store import open_store
from tests.seals import NOON, grow, hashes, new_signer, pymerkle_root

SIGNER, OTHER = new_signer(), new_signer()
SOON_S = 0.3


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/book.db"


@pytest.fixture
def stores(url):
    """Two connections to one book."""
    with closing(open_store(url)) as one, closing(open_store(url)) as two:
        yield one, two


def interrupted(store, by, **options):
    """Returns a sealer that is overtaken, once, when it has looked at the book and not sealed it yet."""
    left = []

    def now():
        if left:
            left.pop()()
        return NOON

    sealer = Sealer(store, SIGNER, now=now, **options)
    left.append(by)
    return sealer


def positions(store):
    return [seal.position for seal in seals_of(store)]


def test_a_sealer_that_was_overtaken_seals_nothing_and_looks_again_the_next_time(stores):
    one, two = stores
    grow(one, 3)

    def overtake():
        grow(two, 2)
        assert Sealer(two, SIGNER).seal()

    sealer = interrupted(one, overtake)
    assert sealer.seal() is None
    assert positions(one) == [5]
    assert sealer.seal() is None
    grow(two)
    assert sealer.seal().position == 6
    assert positions(two) == [5, 6]


def test_a_head_is_sealed_once_by_two(stores):
    one, two = stores
    grow(one, 3)
    sealer = interrupted(one, Sealer(two, SIGNER).seal)

    assert sealer.seal() is sealer.seal() is None
    assert positions(two) == [3]


def test_a_key_hands_over_though_another_sealer_was_first(stores):
    one, two = stores
    grow(one, 3)

    def overtake():
        grow(two, 2)
        assert Sealer(two, SIGNER).seal()

    made = interrupted(one, overtake).seal(next_key=OTHER.key)

    assert (made.position, made.next_key) == (5, OTHER.key)
    assert seals_of(two)[1:] == [made]


def test_a_sealer_whose_key_hands_over_meanwhile_seals_nothing_any_more(stores):
    one, two = stores
    grow(one, 3)

    def rotate():
        assert Sealer(two, SIGNER).seal(next_key=OTHER.key)
        assert Sealer(two, OTHER).seal()

    sealer = interrupted(one, rotate)
    assert sealer.seal() is sealer.seal() is None
    grow(two)
    said = f"the key {SIGNER.key} handed over to {OTHER.key} at position 3"
    for _ in range(2):
        with pytest.raises(SealContradicted, match=said):
            sealer.seal_if_due()
    with pytest.raises(SealContradicted, match=said):
        sealer.seal(next_key=new_signer().key)

    assert [seal.key for seal in seals_of(two)] == [SIGNER.key, OTHER.key]
    assert Sealer(two, OTHER).seal(next_key=SIGNER.key)
    assert sealer.seal().key == SIGNER.key
    grow(two)
    assert sealer.seal().position == 5


def test_a_key_that_begins_anew_may_seal(stores):
    one, two = stores
    for signer in (SIGNER, OTHER, SIGNER):
        grow(one)
        assert Sealer(two, signer).seal()

    assert positions(one) == [1, 2, 3]


def test_who_appends_to_the_file_waits_for_whoever_does(stores, tmp_path):
    one, _ = stores
    grow(one, 3)
    sealer = Sealer(one, SIGNER, file=tmp_path / "book.seals.jsonl")
    with (tmp_path / "book.seals.jsonl").open("ab") as held, ThreadPoolExecutor(1) as pool:
        flock(held, LOCK_EX)
        waiting = pool.submit(sealer.seal)
        with pytest.raises(TimeoutError):
            waiting.result(SOON_S)
        flock(held, LOCK_UN)
        assert waiting.result().position == 3


def test_many_sealers_keep_one_order_in_the_book_and_in_the_file(url, tmp_path):
    file, numbers = tmp_path / "book.seals.jsonl", count(1)

    def work(_):
        with closing(open_store(url)) as store:
            sealer = Sealer(store, SIGNER, file=file)
            for _ in range(25):
                stream = f"round/LuckyMonaco/{next(numbers)}"
                store.insert_events([StoredEvent(stream, 1, "Told", b"{}")])
                sealer.seal_if_due()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))

    with closing(open_store(url)) as store:
        Sealer(store, SIGNER, file=file).seal()
        made = seals_of(store)
        assert all(one.position < two.position for one, two in pairwise(made))
        assert made[-1].position == 75
        assert made[-1].root == pymerkle_root(hashes(store)).hex()
        assert file.read_bytes().splitlines() == store.seals()
