"""Bar charts with the spread of the runs, as SVG for light and dark pages."""

import statistics
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _LABELS, _NUMBERS, _ROW, _HEAD = 860, 400, 70, 26, 40
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.ours{fill:#2f6fde}.theirs{fill:#9aa4b2}"
    "line{stroke:#57606a;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#e6edf3}line{stroke:#c9d1d9}}"
)


class Bar(NamedTuple):
    """One row of a chart: a label and the figure of each run."""

    label: str
    values: Sequence[float]
    ours: bool


def bars(title: str, rows: Sequence[Bar], number: Callable[[float], str]) -> str:
    """Return a chart. Each bar is a median; the line across it goes from the least to the most."""
    most = max(max(row.values) for row in rows) or 1.0
    scale = (_WIDTH - _LABELS - _NUMBERS) / most
    height = _HEAD + _ROW * len(rows) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">',
        f"<style>{_STYLE}</style>",
        f'<text x="8" y="22" font-weight="600">{escape(title)}</text>',
    ]
    for index, row in enumerate(rows):
        top = _HEAD + _ROW * index
        middle = top + _ROW / 2 - 2
        length = statistics.median(row.values) * scale
        least, largest = (_LABELS + value * scale for value in (min(row.values), max(row.values)))
        kind = "ours" if row.ours else "theirs"
        parts += [
            f'<text x="{_LABELS - 8}" y="{middle + 5:.0f}" text-anchor="end">{escape(_short(row.label))}</text>',
            f'<rect class="{kind}" x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_ROW - 6}"/>',
            f'<line x1="{least:.1f}" x2="{largest:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<text x="{largest + 8:.1f}" y="{middle + 5:.0f}">{number(statistics.median(row.values))}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _short(label: str) -> str:
    return label if len(label) <= 54 else label[:53] + "…"
