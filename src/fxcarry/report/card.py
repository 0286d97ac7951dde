"""The report card in words, and the worst days of a run. The card itself is :func:`fxcarry.evidence.report_card`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fxcarry import statistics
from fxcarry.errors import ConfigError
from fxcarry.report.text import VARIANTS, percent, printable, ratio

if TYPE_CHECKING:
    from fxcarry.backtest import BacktestResult

_WORST = 10
_NARROWEST = 60


def worst_days(result: BacktestResult) -> list[dict[str, Any]]:
    """The ten worst days, the worst first: date, return and its parts as fractions of the NAV the day before.

    spot + carry + cost + other = return; other is translation and rounding.
    """
    books = result.books
    before = books.nav[:-1]
    returns = books.nav[1:] / before - 1
    parts = {term: getattr(books, term)[1:] / before for term in ("spot", "carry", "cost")}
    parts["other"] = (books.translation + books.rounding)[1:] / before
    return [
        {
            "date": str(books.day[i + 1]),
            "return": float(returns[i]),
            **{name: float(part[i]) for name, part in parts.items()},
        }
        for i in statistics.worst_periods(returns, _WORST).tolist()
    ]


def card_text(card: Mapping[str, Any], width: int = 100) -> str:
    """A :func:`~fxcarry.evidence.report_card` in plain words, no line longer than ``width`` (60 or more) columns.

    A Sharpe ratio never stands without how sure it is. Raises ConfigError for a narrower page.
    """
    if width < _NARROWEST:
        raise ConfigError(f"width is {width}", hint=f"{_NARROWEST} columns or more")
    lines = [f"Report card of {printable(card['strategy'])}"]
    for label, text in sentences(card):
        first = f"{label:<18}" if label else " " * 18
        lines += textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * 18, break_on_hyphens=False)
    if card["worst_days"]:
        lines += ["", f"Worst {len(card['worst_days'])} days, in % of the NAV the day before"]
        columns = ("return", "spot", "carry", "cost", "other")
        lines.append("".join(["date".ljust(12), *(name.rjust(9) for name in columns)]))
        for day in card["worst_days"]:
            lines.append("".join([day["date"].ljust(12), *(percent(day[name]).rjust(9) for name in columns)]))
    for note in card["notes"]:
        lines += ["", *textwrap.wrap(f"Note: {printable(note)}", width, subsequent_indent="  ")]
    return "\n".join([*lines, ""])


def sentences(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and sentence of each line above the table."""
    reasons = card["reasons"]

    def unless(key: str, text: Callable[[], str]) -> str:
        return f"n/a: {reasons[key]}" if card[key] is None else text()

    yield (
        "Period",
        f"{card['start']} to {card['end']}, {card['days']:,} trading days ({card['track_record_years']:.1f} years of "
        f"{card['periods']}), account currency {card['account_currency']}",
    )
    yield (
        "Sharpe ratio",
        unless(
            "se",
            lambda: (
                f"{ratio(card['sharpe'], card['se'])} a year, one standard error, allowing for skew and fat tails "
                f"(Mertens 2002); ± {card['se_iid']:.2f} if returns were independent and normal (Lo 2002)"
            ),
        ),
    )
    yield (
        "",
        unless(
            "interval",
            lambda: (
                f"{percent(card['interval_level'], 0, signed=False)} interval {card['interval'][0]:.2f} to "
                f"{card['interval'][1]:.2f} (stationary bootstrap, blocks of {card['mean_block']} days on average)"
            ),
        ),
    )
    if card["sharpe"] and card["se"] and card["autocorrelation_adjusted_sharpe"] is not None:
        factor = card["autocorrelation_adjusted_sharpe"] / card["sharpe"]
        adjusted = ratio(card["autocorrelation_adjusted_sharpe"], card["se"] * factor)
        yield "", f"{adjusted} allowing for autocorrelation over {card['lags']} days (Lo 2002)"
    yield (
        "Above zero?",
        unless("psr", lambda: f"{_chance(card['psr'])} likely, if this was the only thing ever tried (PSR)"),
    )
    yield (
        "",
        unless(
            "dsr",
            lambda: f"{_chance(card['dsr'])} likely, as the best of {card['trials']} tried on the same market (DSR)",
        ).replace("n/a:", "not deflated:"),
    )
    if len(card["candidates"]) > 1:
        yield (
            "",
            unless(
                "pbo",
                lambda: (
                    f"in {percent(card['pbo'], 0, signed=False)} of the ways to split the time, the best of "
                    f"{printable(', '.join(card['candidates']))} in one half is in their lower half in the other (PBO)"
                ),
            ).replace("n/a:", "PBO not known:"),
        )
    yield (
        "Track record",
        unless(
            "min_track_record_years",
            lambda: f"{card['min_track_record_years']:.1f} years of the same would make it 95% likely (one try)",
        ),
    )
    yield (
        "t statistic",
        unless("newey_west_t", lambda: f"{card['newey_west_t']:.2f} of the mean (Newey–West, {card['lags']} lags)"),
    )
    yield (
        "Shape",
        unless("skew", lambda: f"skew {card['skew']:.2f}, kurtosis {card['kurtosis']:.1f} (normal: 0 and 3), per day"),
    )
    yield (
        "Return a year",
        unless(
            "annual_return",
            lambda: (
                f"{percent(card['annual_return'])} = spot {percent(card['spot'])}, carry {percent(card['carry'])}, "
                f"cost {percent(card['cost'])}, other {percent(card['other'])}"
            ),
        ),
    )
    for name, label in VARIANTS.items():
        if name in (card["variants"] or {}):
            other = card["variants"][name]
            yield (
                "" if name != next(iter(card["variants"])) else "Compared",
                f"{label}: {percent(other['annual_return'])} a year, Sharpe ratio "
                f"{ratio(other['sharpe'], other['sharpe_se'])}",
            )
    yield (
        "Carry kept",
        unless(
            "carry_capture",
            lambda: f"{percent(card['carry_capture'], 0, signed=False)} of the interest is left by the mark-up",
        ),
    )
    if other := card["against"]:
        label = f"Sharpe ratio less that of {printable(other['strategy'])}: "
        if other["difference"] is None:
            yield "Difference", f"{label}n/a: {reasons['against']}"
        else:
            yield (
                "Difference",
                f"{label}{ratio(other['difference'], other['standard_error'])}, 95% interval {other['low']:.2f} to "
                f"{other['high']:.2f}, p = {other['p_value']:.4f} (same {other['days']:,} days, resampled together)",
            )
    if (drawn := card["placebo"]) is not None:
        yield (
            "Placebo",
            f"better than {drawn['percentile']:.0f}% of {drawn['draws']} books of the same shape in shuffled "
            f"currencies, p = {drawn['p_value']:.3f}; theirs have Sharpe ratios of {drawn['low']:.2f} to "
            f"{drawn['high']:.2f} (5% to 95%), median {drawn['median']:.2f}",
        )


def _chance(probability: float) -> str:
    """Never 0 % or 100 %: nothing here is certain."""
    if probability > 0.999:
        return "over 99.9%"
    return "under 0.1%" if probability < 0.001 else f"{100 * probability:.1f}%"
