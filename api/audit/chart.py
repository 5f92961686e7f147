"""A step line: what a balance was after each event. Drawn by the server, as SVG."""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.money import to_text

WIDTH, HEIGHT = 960, 220
LEFT, RIGHT, TOP, BOTTOM = 110, 12, 14, 26
LINES = 4
DIGIT = 8
"""As wide as a digit of a label is, at most."""


class Step(NamedTuple):
    """A value from `x` on: a moment, or a number of an event. `url`: of what made it so."""

    x: int
    value: int
    label: str
    url: str


class Dot(NamedTuple):
    """A step in its place. `kind`: "later" than what is looked at, "aside" where no event of ours made it."""

    x: int
    y: int
    label: str
    kind: str


class Rule(NamedTuple):
    """A line across, at a value."""

    y: int
    label: str


class Chart(NamedTuple):
    """What a page draws. `later`: the line behind the step that is looked at, empty where it is the last.

    `left`: where it begins, behind the labels of its rules.
    """

    path: str
    later: str
    dots: list[Dot]
    left: int
    rules: list[Rule]
    first: str
    last: str
    summary: str


def step_line(steps: Sequence[Step], *, scale: int, upto: int | None = None) -> Chart | None:
    """Returns a chart of steps in their order, the later of which are marked; None for none."""
    if not steps:
        return None
    low, high = min(s.value for s in steps), max(s.value for s in steps)
    begin, span = steps[0].x, max(steps[-1].x - steps[0].x, 1)
    values = sorted({low + (high - low) * part // (LINES - 1) for part in range(LINES)})
    left = max(LEFT, *(DIGIT * (2 + len(to_text(value, scale))) for value in values))
    wide, tall = WIDTH - left - RIGHT, HEIGHT - TOP - BOTTOM

    def across(x: int) -> int:
        return left + (x - begin) * wide // span

    def down(value: int) -> int:
        return TOP + tall - ((value - low) * tall // (high - low) if high > low else tall // 2)

    def dot(s: Step) -> Dot:
        kind = "later" if upto is not None and s.x > upto else "" if s.url else "aside"
        return Dot(across(s.x), down(s.value), s.label, kind)

    dots = [dot(step) for step in steps]
    known = sum(dot.kind != "later" for dot in dots)
    path, later = _line(dots[:known]), _line(dots[known - 1 :]) if known < len(dots) else ""
    end = f"H{WIDTH - RIGHT}"
    said = f"from {to_text(steps[0].value, scale)} to {to_text(steps[-1].value, scale)}"
    return Chart(
        path if later else path + end,
        later and later + end,
        dots,
        left,
        [Rule(down(value), to_text(value, scale)) for value in values],
        steps[0].label,
        steps[-1].label,
        f"{said}, between {to_text(low, scale)} and {to_text(high, scale)}",
    )


def _line(dots: Sequence[Dot]) -> str:
    return f"M{dots[0].x} {dots[0].y}" + "".join(f"H{dot.x}V{dot.y}" for dot in dots[1:])
