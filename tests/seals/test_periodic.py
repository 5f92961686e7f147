import threading

from ledger.periodic import Periodic

ENOUGH_S = 10


def told_of(*happenings):
    """Returns the texts of what is told as one thing after another happens: a defect, or None for none."""
    left, told, over = list(happenings), [], threading.Event()

    def do():
        if not left:
            over.set()
        elif defect := left.pop(0):
            raise defect

    periodic = Periodic(do, every_s=0, name="test", on_defect=lambda it: told.append(repr(it)))
    periodic.start()
    assert over.wait(ENOUGH_S)
    periodic.stop()
    return told


def test_the_same_defect_over_and_over_is_told_once():
    assert told_of(*[ValueError("cut at 3") for _ in range(5)]) == ["ValueError('cut at 3')"]


def test_another_text_is_told_and_so_is_another_type():
    assert told_of(ValueError("1"), ValueError("1"), ValueError("2"), KeyError("2")) == [
        "ValueError('1')",
        "ValueError('2')",
        "KeyError('2')",
    ]


def test_what_comes_back_is_told_again_once_something_else_has_happened():
    one, two = ValueError("1"), ValueError("2")

    assert told_of(one, None, one, two, one) == [repr(each) for each in (one, one, two, one)]
