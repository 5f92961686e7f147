"""Draws what a benchmark found as SVG: a line a series over steps of equal width, and what it is of."""

from collections.abc import Sequence
from html import escape
from math import inf
from typing import NamedTuple

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 44, 40
RULES = 4
LETTERS = 14
"""How far apart two names must be not to run into each other."""

COLOURS = ("#1f6feb", "#d4691a", "#2da44e", "#8250df")


class Line(NamedTuple):
    """A series: its name, and a value a step."""

    name: str
    values: Sequence[float]


def draw(title: str, below: str, steps: Sequence[str], lines: Sequence[Line]) -> str:
    """Returns a picture; its scale begins at nothing. `below`: what the steps are."""
    most = _round_up(max(value for line in lines for value in line.values))
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(step: int) -> float:
        return LEFT + wide * step / max(1, len(steps) - 1)

    def down(value: float) -> float:
        return TOP + tall * (1 - value / most)

    parts = [
        _text(LEFT, 20, title, weight="bold"),
        _text(LEFT + wide / 2, HEIGHT - 6, below, "middle"),
    ]
    for rule in range(RULES + 1):
        value = most * rule / RULES
        parts.append(
            f'<path d="M{LEFT} {down(value):.1f}H{LEFT + wide}" stroke="#8b949e" stroke-opacity=".35"/>'
        )
        parts.append(_text(LEFT - 8, down(value) + 4, f"{value:,.6g}", "end"))
    for number, step in enumerate(steps):
        parts.append(_text(across(number), HEIGHT - BOTTOM + 18, step, "middle"))
    names = _apart([down(line.values[-1]) for line in lines])
    for line, colour, height in zip(lines, COLOURS, names, strict=False):
        points = [(across(step), down(value)) for step, value in enumerate(line.values)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(points[-1][0] + 8, height + 4, line.name, colour=colour))
    said = "; ".join(
        f"{line.name}: {', '.join(f'{v:,.6g}' for v in line.values)}" for line in lines
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' font-family="system-ui, sans-serif" font-size="12" role="img">'
        f"<title>{escape(title)}</title><desc>{escape(said)}</desc>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str = "start",
    *,
    weight: str = "normal",
    colour: str = "#24292f",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
        f' fill="{colour}">{escape(text)}</text>'
    )


def _apart(heights: Sequence[float]) -> list[float]:
    """Returns heights of names in their order; what would run into one above is moved down."""
    found = list(heights)
    above = -inf
    for place in sorted(range(len(found)), key=found.__getitem__):
        found[place] = above = max(found[place], above + LETTERS)
    return found


def _round_up(value: float) -> float:
    """Returns the next number of one digit, or a half of ten, and noughts."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * step for step in (1, 2, 3, 4, 5, 6, 8, 10) if power * step >= value)
