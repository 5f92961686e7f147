import threading

import pytest

from api.provider.waiting import Aside, Waiting
from ledger.provider.round import Round
from ledger.refusals import OutcomeUnknown
from ledger.writer import thread_latch

ROUND = Round()


def test_what_is_read_aside_is_read_in_another_thread():
    threads = []

    def read():
        threads.append(threading.current_thread())
        return ROUND

    assert Aside(thread_latch, 5)(read) is ROUND
    assert threads != [threading.current_thread()]


def test_what_fails_aside_fails_for_who_asked():
    def read():
        raise OutcomeUnknown("the store is away")

    with pytest.raises(OutcomeUnknown, match="the store is away"):
        Aside(thread_latch, 5)(read)


def test_a_store_that_says_nothing_keeps_nobody_longer_than_the_deadline():
    answered = threading.Event()
    with pytest.raises(OutcomeUnknown):
        Aside(thread_latch, 0.05)(answered.wait)
    answered.set()


def test_who_waits_for_a_round_reads_it_the_way_that_was_given():
    asked = []

    def ask(read):
        asked.append(read)
        return read()

    waiting = Waiting(thread_latch, ask)
    found = waiting.until(("acme", "1"), lambda: ROUND, lambda _: True, timeout_s=1)
    assert (found, len(asked)) == (ROUND, 1)
