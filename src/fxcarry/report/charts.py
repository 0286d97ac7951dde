"""Charts as inline SVG: small text, colored by the page's style sheet, so that they follow its light or dark theme.

Shapes carry class names (``line net``, ``bar spot``), never colors. Lengths are SVG user units, dates
``datetime64[D]``, values fractions (0.01 is drawn as 1 %).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fxcarry.model import FloatArray

Days = NDArray[np.datetime64]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 52, 10, 12, 26
_POINTS = 1_000
_BINS = 320


def line_chart(
    lines: Mapping[str, tuple[Days, FloatArray]],
    *,
    label: str,
    height: int = 300,
    is_filled: bool = False,
    marks: Iterable[tuple[np.datetime64, str]] = (),
) -> str:
    """Lines over time by class name, the first one on top; ``is_filled`` shades it to zero, ``marks`` are vertical.

    A line of many points keeps the lowest and highest of each stretch, so that no extreme is lost.
    """
    low = min(0.0, *(float(v.min()) for _, v in lines.values()))
    high = max(0.0, *(float(v.max()) for _, v in lines.values()))
    plot = _Plot(min(d[0] for d, _ in lines.values()), max(d[-1] for d, _ in lines.values()), low, high, height)
    parts = plot.grid()
    for name, (days, values) in reversed(list(lines.items())):
        keep = _thin(values)
        points = plot.path(days[keep], values[keep])
        if is_filled and name == next(iter(lines)):
            zero = f"{plot.y(0.0):.1f}"
            parts.append(f'<path class="area {name}" d="{points}V{zero}H{plot.x(days[keep[0]]):.1f}Z"/>')
        parts.append(f'<path class="line {name}" d="{points}"/>')
    for day, text in marks:
        x = plot.x(day)
        anchor = "end" if x > _WIDTH / 2 else "start"
        parts.append(
            f'<path class="mark" d="M{x:.1f} {_TOP}V{height - _BOTTOM}"/>'
            f'<text class="note" x="{x + (-5 if anchor == "end" else 5):.1f}" y="{_TOP + 10}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )
    return _svg(parts, height, label)


def bar_chart(labels: Sequence[str], stacks: Mapping[str, FloatArray], *, label: str, height: int = 260) -> str:
    """Stacked bars, gains up from zero and losses down, by class name; a dot marks their sum."""
    values = np.array(list(stacks.values()))
    total = values.sum(0)
    low = min(0.0, float(np.minimum(values, 0).sum(0).min()))
    high = max(0.0, float(np.maximum(values, 0).sum(0).max()))
    plot = _Plot(np.datetime64(0, "D"), np.datetime64(len(labels), "D"), low, high, height)
    parts = plot.grid(has_dates=False)
    pitch = (_WIDTH - _LEFT - _RIGHT) / len(labels)
    width = min(0.62 * pitch, 46.0)
    every = -(-len(labels) * 34 // (_WIDTH - _LEFT - _RIGHT))
    for i, text in enumerate(labels):
        center = _LEFT + (i + 0.5) * pitch
        edges = {1: 0.0, -1: 0.0}
        parts.append(f"<g><title>{escape(text)}: {_percents(stacks, i)}</title>")
        for name, column in stacks.items():
            value = float(column[i])
            side = 1 if value > 0 else -1
            start, edges[side] = edges[side], edges[side] + value
            top, bottom = sorted((plot.y(start), plot.y(edges[side])))
            if bottom - top >= 0.05:
                parts.append(
                    f'<rect class="bar {name}" x="{center - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
                    f'height="{bottom - top:.1f}"/>'
                )
        parts.append(f'<circle class="dot" cx="{center:.1f}" cy="{plot.y(float(total[i])):.1f}" r="3.2"/></g>')
        if i % every == 0:
            parts.append(
                f'<text class="tick" x="{center:.1f}" y="{height - 8}" text-anchor="middle">{escape(text)}</text>'
            )
    return _svg(parts, height, label)


def weight_chart(days: Days, weights: FloatArray, names: Sequence[str], *, label: str) -> str:
    """A row a currency, time to the right: the mean weight of each stretch, long and short in two colors.

    Full color is the largest mean weight of all; eight steps between.
    """
    row = 24
    height = _TOP + row * len(names) + _BOTTOM
    plot = _Plot(days[0], days[-1], 0.0, 1.0, height)
    edges = np.unique(np.linspace(0, len(days), min(len(days), _BINS) + 1).astype(int))
    mean = np.add.reduceat(weights, edges[:-1], axis=0) / np.diff(edges)[:, None]
    largest = float(np.abs(mean).max()) or 1.0
    level = np.ceil(np.round(8 * np.abs(mean) / largest, 6)).astype(int) * np.sign(mean).astype(int)
    x = [plot.x(days[e]) for e in edges[:-1]] + [float(_WIDTH - _RIGHT)]
    cells: dict[int, list[str]] = {}
    for k in range(len(names)):
        y = _TOP + k * row + 1
        ends = [0, *(np.flatnonzero(np.diff(level[:, k])) + 1).tolist(), len(level)]
        for a, b in pairwise(ends):
            if level[a, k]:
                cells.setdefault(int(level[a, k]), []).append(f"M{x[a]:.1f} {y}H{x[b]:.1f}v{row - 2}H{x[a]:.1f}z")
    parts = plot.dates(top=_TOP)
    for k, name in enumerate(names):
        y = _TOP + k * row
        parts.append(
            f'<rect class="lane" x="{_LEFT}" y="{y + 1}" width="{_WIDTH - _LEFT - _RIGHT}" height="{row - 2}"/>'
        )
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
    for step, paths in cells.items():
        side = "long" if step > 0 else "short"
        parts.append(f'<path class="{side}" fill-opacity="{abs(step) / 8:.3g}" d="{"".join(paths)}"/>')
    return _svg(parts, height, label)


class _Plot:
    """Scales and grid of one chart."""

    def __init__(self, first: np.datetime64, last: np.datetime64, low: float, high: float, height: int) -> None:
        self._first = first
        self._last = last
        self._span = max(float((last - first).astype(int)), 1.0)
        self._ticks = _ticks(low, high if high > low else low + 0.01)
        self._low, self._high = min(low, self._ticks[0]), max(high, self._ticks[-1])
        self._height = height

    def x(self, day: Any) -> Any:
        """From a day, or an array of days."""
        share = (day - self._first).astype(int) / self._span
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: Any) -> Any:
        """From a value, or an array of values."""
        return _TOP + (self._high - value) / (self._high - self._low) * (self._height - _TOP - _BOTTOM)

    def path(self, days: Days, values: FloatArray) -> str:
        """A polyline as path data."""
        points = zip(self.x(days).tolist(), self.y(values).tolist())
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)

    def grid(self, *, has_dates: bool = True) -> list[str]:
        """Horizontal lines with percent, and the dates below."""
        exact = (d for d in range(6) if all(abs(100 * t - round(100 * t, d)) < 1e-9 for t in self._ticks))
        digits = next(exact, 6)
        parts = []
        for tick in self._ticks:
            y = self.y(tick)
            name = "zero" if tick == 0 else "rule"
            parts.append(f'<path class="{name}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
            text = f"{100 * tick:.{digits}f}%".replace("-", "−")
            parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        return parts + (self.dates(top=self._height - _BOTTOM) if has_dates else [])

    def dates(self, *, top: int) -> list[str]:
        """Tick marks and labels of the time axis; marks start at ``top``."""
        parts = []
        for day, text in _dates(self._first, self._last):
            x = self.x(day)
            parts.append(f'<path class="rule" d="M{x:.1f} {top}V{self._height - _BOTTOM + 5}"/>')
            anchor = "middle" if x < _WIDTH - _RIGHT - 30 else "end"
            parts.append(f'<text class="tick" x="{x:.1f}" y="{self._height - 8}" text-anchor="{anchor}">{text}</text>')
        return parts


def _svg(parts: Iterable[str], height: int, label: str) -> str:
    shape = f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}"'
    return f'<svg class="chart" {shape}>{"".join(parts)}</svg>'


def _ticks(low: float, high: float) -> list[float]:
    """Round values that cover ``low`` to ``high``, about five of them."""
    span = high - low
    power = 10.0 ** np.floor(np.log10(span / 5))
    step = float(power * min((m for m in (1, 2, 2.5, 5, 10)), key=lambda m: abs(np.log(span / 5 / (power * m)))))
    first, last = int(np.floor(low / step + 1e-9)), int(np.ceil(high / step - 1e-9))
    return [round(i * step, 12) for i in range(first, last + 1)]


def _dates(first: np.datetime64, last: np.datetime64) -> list[tuple[np.datetime64, str]]:
    """First days of years or months, ten or fewer; a period too short for that is labelled at its ends."""
    months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
    months = months[months.astype("datetime64[D]") >= first]
    for step in (1, 2, 3, 6, 12, 24, 36, 60, 120, 240):
        chosen = months[months.astype(int) % step == 0]
        if len(chosen) <= 10:
            break
    if len(chosen) < 2:
        return [(first, str(first)), (last, str(last))]
    return [(m.astype("datetime64[D]"), f"{m.item():{'%Y' if step >= 12 else '%b %Y'}}") for m in chosen]


def _thin(values: FloatArray) -> NDArray[np.intp]:
    """Indices of at most ``_POINTS`` values: the lowest and the highest of each stretch, and both ends."""
    if len(values) <= _POINTS:
        return np.arange(len(values))
    keep = {0, len(values) - 1}
    for a, b in pairwise(np.linspace(0, len(values), _POINTS // 2).astype(int).tolist()):
        keep |= {a + int(values[a:b].argmin()), a + int(values[a:b].argmax())}
    return np.array(sorted(keep))


def _percents(stacks: Mapping[str, FloatArray], i: int) -> str:
    return ", ".join(f"{name} {100 * float(column[i]):+.2f}%" for name, column in stacks.items())
