from itertools import pairwise
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from scripts.bench_picture import LETTERS, Line, draw

NAMES = ("bets", "no-op", "evening")


@given(st.lists(st.floats(1, 100), min_size=1, max_size=len(NAMES)))
def test_no_name_of_a_line_runs_into_another(values):
    lines = [Line(name, [value]) for name, value in zip(NAMES, values, strict=False)]
    drawn = ET.fromstring(draw("a title", "below", ["1"], lines))
    heights = {text.text: float(text.get("y")) for text in drawn.iter() if text.text in NAMES}
    assert sorted(heights) == sorted(line.name for line in lines)
    tops = [heights[line.name] for line in sorted(lines, key=lambda line: -line.values[0])]
    assert all(below - above >= LETTERS - 0.2 for above, below in pairwise(tops))
