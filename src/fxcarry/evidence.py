"""How much a backtest proves: its report card, and the same book held in the wrong currencies.

A Sharpe ratio alone says little. The card puts beside it how sure it is, how much of it may be selection, where the
money came from and on which days it was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from fxcarry import statistics
from fxcarry.answers import as_weights
from fxcarry.backtest import RETAIL, BacktestResult, Routing, backtest
from fxcarry.clock import Frequency
from fxcarry.costs import Costs
from fxcarry.engine import Progress, no_progress
from fxcarry.errors import ConfigError, DataError
from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import Account, FloatArray
from fxcarry.periods import Day
from fxcarry.protocols import RiskRule, Strategy
from fxcarry.report import PERIODS, worst_days
from fxcarry.report import card_text as card_text
from fxcarry.statistics.sample import newey_west_lags
from fxcarry.trials import TrialRegistry, family_of
from fxcarry.universe import UniverseLike
from fxcarry.venues import Venue

MEAN_BLOCK = 21
"""Trading days in a block of the bootstrap, on average: a month."""

_CONFIDENCE = 0.95
_BLOCKS = 16
_FLAT = "the returns have no volatility"
_NO_CHOICE = "there was nothing to choose from: fewer than two candidates"
_ONLY_ONE = "1 trial: this one, so there is nothing to deflate by"


# Trials


def configuration_of(result: BacktestResult, strategy: Strategy | None = None) -> dict[str, Any]:
    """What defines a run, as plain JSON for :meth:`fxcarry.trials.TrialRegistry.record`.

    Strategy, rules, costs, mark-up, venue if one was chosen, universe, account currency, cash, schedule and routing. A
    result knows only the name of its strategy: pass the ``strategy`` itself, or two settings of one class count as one
    trial. Settings are read from attrs classes; of any other callable only the name is known.

    The dates are left out: the same configuration on more data is the same trial. So trying one strategy on many
    periods and showing the best is not counted; nothing but you can count it.
    """
    return {
        "strategy": result.strategy if strategy is None else _plain(strategy),
        "rules": [_plain(rule) for rule in result.rules],
        "costs": _plain(result.costs),
        "markup": result.markup,
        **({} if result.venue is None else {"venue": result.venue}),
        "universe": list(result.universe),
        "account_currency": result.account_currency,
        "cash": result.cash,
        "rebalance": result.rebalance,
        "routing": result.routing,
    }


def _plain(value: Any) -> Any:
    """A setting as plain JSON; an attrs object as its type and fields, anything else that is not plain by its name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if attrs.has(type(value)):
        fields = {a.name: _plain(getattr(value, a.name)) for a in attrs.fields(type(value)) if a.init}
        return {"type": type(value).__qualname__, **fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if callable(value) or isinstance(getattr(value, "name", None), str):
        return str(getattr(value, "name", None) or getattr(value, "__qualname__", type(value).__qualname__))
    return str(value)


# Placebo


@attrs.frozen(kw_only=True)
class Placebo:
    """The annual net Sharpe ratio of a strategy among those of the same books held in shuffled currencies.

    ``sharpes`` has one ratio a draw, None for a draw that never moved.
    """

    sharpe: float
    sharpes: tuple[float | None, ...]

    @property
    def percentile(self) -> float:
        """Share of the draws below the strategy, 0 to 100; an equal one counts half, one that never moved as zero."""
        drawn = self.drawn
        return 100 * float(np.mean((drawn < self.sharpe) + 0.5 * (drawn == self.sharpe)))

    @property
    def p_value(self) -> float:
        """Chance of a draw as good as the strategy if currencies did not matter: (1 + as good) / (1 + draws)."""
        return (1 + int(np.count_nonzero(self.drawn >= self.sharpe))) / (1 + len(self.sharpes))

    @property
    def drawn(self) -> FloatArray:
        """``sharpes`` with 0 for a draw that never moved."""
        return np.array([0.0 if s is None else s for s in self.sharpes])


def placebo_percentile(
    strategy: Strategy,
    *,
    history: MarketHistory,
    draws: int = 100,
    seed: int = 1,
    start: Day | None = None,
    end: Day | None = None,
    universe: UniverseLike | None = None,
    rules: Sequence[RiskRule] | None = None,
    costs: Costs | None = RETAIL,
    markup: float | None = None,
    venue: str | Venue | None = None,
    cash: float | None = None,
    account_currency: str = "USD",
    rebalance: Frequency = "monthly",
    routing: Routing = "direct",
    progress: Progress = no_progress,
) -> Placebo:
    """Run a strategy, and ``draws`` placebos of it: its weights, each given to another currency.

    A draw is one permutation of the currencies, kept for all of its decisions, so a placebo holds books of the same
    shape, changes them as often, and bears the financing and costs of what it holds. If carry did not matter, the
    strategy would be one of them. A currency without a price or rate takes no part until it has one, and the account
    currency never does. A strategy that reads the account sees what it holds under its own names, in
    ``current_weights`` only.

    The arguments are those of :func:`fxcarry.backtest.backtest`; ``progress`` is called with (runs done, runs in all).
    A strategy that sizes by covariance sizes for the currencies it chose, so its placebos run at another volatility;
    Sharpe ratios allow for that, rules and caps do not. Raises DataError if the strategy itself never moved, and
    ConfigError unless ``draws`` ≥ 1.
    """
    if draws != int(draws) or draws < 1:
        raise ConfigError(f"draws {draws} is not a whole number of one or more", hint="100 is usual")
    if not callable(strategy):
        raise ConfigError(f"strategy is {strategy!r}", hint="pass the strategy itself, such as Baseline()")

    def run(chosen: Strategy) -> float | None:
        result = backtest(
            chosen,
            history=history,
            start=start,
            end=end,
            universe=universe,
            rules=rules,
            costs=costs,
            markup=markup,
            venue=venue,
            cash=cash,
            account_currency=account_currency,
            rebalance=rebalance,
            routing=routing,
        )
        sharpe: float | None = result.stats["sharpe"]
        return sharpe

    true = run(strategy)
    if true is None:
        raise DataError("the strategy never held anything", hint="choose a period in which it trades")
    progress(1, draws + 1)
    drawn = []
    for draw in range(draws):
        drawn.append(run(_Shuffled(strategy, seed, draw)))
        progress(draw + 2, draws + 1)
    return Placebo(sharpe=true, sharpes=tuple(drawn))


@attrs.frozen
class _Shuffled:
    """A strategy whose weights are each given to another currency, the same one at every decision."""

    inner: Strategy
    seed: int
    draw: int

    @property
    def reads_account(self) -> bool:
        return bool(getattr(self.inner, "reads_account", True))

    def __call__(self, view: MarketView, account: Account) -> FloatArray:
        names = view.currencies
        order = np.random.default_rng([self.seed, self.draw]).permutation(len(names))
        can_be_held = np.isfinite(view.tradable_carry)
        can_be_held &= np.array([c != view.account_currency for c in names])
        sources = np.flatnonzero(can_be_held)
        targets = order[can_be_held[order]]  # the same currencies in this draw's order
        seen = account
        if self.reads_account:
            held = account.current_weights
            own = {names[s]: held[names[t]] for s, t in zip(sources, targets) if names[t] in held}
            rest = {c: w for c, w in held.items() if c not in names or not can_be_held[names.index(c)]}
            seen = attrs.evolve(account, current_weights={**rest, **own})
        weights = as_weights(self.inner(view, seen), view)
        shuffled = weights.copy()
        shuffled[targets] = weights[sources]
        return shuffled


# The report card


def report_card(
    result: BacktestResult,
    *,
    trials: TrialRegistry | None = None,
    against: BacktestResult | None = None,
    placebo: Placebo | None = None,
    variants: Mapping[str, BacktestResult] | None = None,
    candidates: Sequence[BacktestResult] = (),
) -> dict[str, Any]:
    """Everything that says how far to trust a result, ready for JSON: no NaN, None where a figure does not exist.

    Annual figures are decimals per year (260 days), Sharpe ratios annual except ``trial_variance`` (per day);
    ``reasons`` says by key why a figure is None, ``notes`` what else to know. ``se_iid`` is Lo's standard error, ``se``
    Mertens'; ``interval`` a 95 % stationary bootstrap; ``psr`` the probability that the true ratio is above zero,
    ``dsr`` the same allowing for the trials of the same family in the registry (this result counts as one even if it
    was not recorded, and nothing is recorded here). ``min_track_record_years`` is what it takes to be 95 % sure.
    ``carry_capture`` is the interest booked over what it would be without the mark-up. ``worst_days`` are fractions of
    the NAV the day before: spot + carry + cost + other = return.

    ``variants`` are the runs of :func:`fxcarry.backtest.variants`: with rules and without, net and gross of mark-up.
    ``candidates`` are the results, this one included, of which one is to be chosen: ``pbo`` is the probability that
    the best in sample is in the lower half out of sample, on the days all have, in 16 blocks.

    ``against`` is compared on the days both have; ``placebo`` comes from :func:`placebo_percentile`. Raises ConfigError
    if ``against`` has another account currency, and what the registry raises.
    """
    if against is not None and against.account_currency != result.account_currency:
        raise ConfigError(
            f"{result.account_currency} returns cannot be compared with {against.account_currency} returns",
            hint="run both in one account currency",
        )
    is_solvent = bool(result.books.nav.min() > 0)
    returns = result.returns.to_numpy() if is_solvent else np.empty(0)
    missing = ""
    if not is_solvent:
        missing = "the account lost everything"
    elif len(returns) < 3:
        missing = f"too few returns: {len(returns)}, and three are needed"
    elif math.isnan(statistics.sharpe(returns, PERIODS)):
        missing = _FLAT
    days = len(result.books.nav) - 1
    figures = _Figures(missing)
    figures.values |= {
        "strategy": result.strategy,
        "start": str(result.books.day[0]),
        "end": str(result.books.day[-1]),
        "universe": list(result.universe),
        "account_currency": result.account_currency,
        "days": days,
        "periods": PERIODS,
        "track_record_years": days / PERIODS,
    }
    _add_sharpe(figures, returns)
    _add_selection(figures, result, returns, trials)
    _add_money(figures, result, returns)
    compared = figures.values["against"] = None if against is None else _compare(result, against)
    if compared and compared["difference"] is None:
        figures.reasons["against"] = "the two have fewer than three days in common, or one of them never moved"
    figures.values["candidates"] = [candidate.strategy for candidate in candidates]
    figures.add("pbo", lambda: _overfitting(candidates))
    if len(candidates) < 2:
        figures.reasons["pbo"] = _NO_CHOICE
    figures.values["variants"] = None if variants is None else {n: _outcome(r) for n, r in variants.items()}
    figures.values["placebo"] = None if placebo is None else _shown(placebo)
    notes = (*result.notes, *(trials.notes if trials else ()))
    return {**figures.values, "reasons": figures.reasons, "notes": list(dict.fromkeys(notes))}


class _Figures:
    """Figures by name, and why one that is None does not exist. ``missing`` is why none of them does."""

    def __init__(self, missing: str) -> None:
        self.missing = missing
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def add(self, name: str, figure: Callable[[], float], otherwise: str = _FLAT) -> None:
        """One figure; ``otherwise`` is why it may not be a number."""
        value = math.nan
        if not self.missing:
            try:
                value = float(figure())
            except DataError as error:
                otherwise = error.message
        self.values[name] = value if math.isfinite(value) else None
        if not math.isfinite(value):
            self.reasons[name] = self.missing or otherwise


def _add_sharpe(figures: _Figures, returns: FloatArray) -> None:
    """The Sharpe ratio and how sure it is, and the shape of the returns."""
    root = math.sqrt(PERIODS)
    lags = newey_west_lags(len(returns))
    block = max(min(MEAN_BLOCK, len(returns)), 1)
    figures.add("sharpe", lambda: statistics.sharpe(returns, PERIODS))
    figures.add("se_iid", lambda: statistics.sharpe_standard_error(returns, "iid") * root)
    figures.add("se", lambda: statistics.sharpe_standard_error(returns, "mertens") * root)
    figures.add(
        "autocorrelation_adjusted_sharpe",
        lambda: statistics.autocorrelation_adjusted_sharpe(returns, PERIODS, lags),
        "the autocorrelations leave no variance",
    )
    figures.values["lags"] = lags
    interval = None if figures.missing else statistics.sharpe_interval(returns, PERIODS, _CONFIDENCE, block)
    figures.values["interval"] = list(interval) if interval and all(map(math.isfinite, interval)) else None
    if figures.values["interval"] is None:
        figures.reasons["interval"] = figures.missing or _FLAT
    figures.values |= {"interval_level": _CONFIDENCE, "mean_block": block}
    figures.add("newey_west_t", lambda: statistics.newey_west_t(returns, lags))
    figures.add("skew", lambda: statistics.skewness(returns))
    figures.add("kurtosis", lambda: statistics.kurtosis(returns))


def _add_selection(
    figures: _Figures, result: BacktestResult, returns: FloatArray, trials: TrialRegistry | None
) -> None:
    """How likely it is that there is anything, given one try or all of them."""
    count, variance, why = 1, None, "1 trial: no trial registry was given, so it is not known what else was tried"
    if trials is not None:
        count, variance = _tried(trials, result, None if figures.missing else returns)
        why = f"{count} trials, of which fewer than two have a Sharpe ratio" if count > 1 else _ONLY_ONE
    figures.values |= {"trials": count, "trial_variance": variance}

    def moments() -> tuple[float, int, float, float]:
        skew, kurtosis = statistics.skewness(returns), statistics.kurtosis(returns)
        return statistics.sharpe(returns, 1), len(returns), skew, kurtosis

    def years() -> float:
        sharpe, _, skew, kurtosis = moments()
        return statistics.min_track_record_length(sharpe, skew, kurtosis, 0.0, _CONFIDENCE) / PERIODS

    figures.add("psr", lambda: statistics.probabilistic_sharpe(*moments()))
    figures.add(
        "dsr",
        lambda: math.nan if variance is None else statistics.deflated_sharpe(*moments(), count, variance),
        why,
    )
    figures.add(
        "min_track_record_years",
        years,
        "no track record shows that a Sharpe ratio of zero or less is above zero",
    )


def _tried(trials: TrialRegistry, result: BacktestResult, returns: FloatArray | None) -> tuple[int, float | None]:
    """How many trials of the family there are, this one included, and the variance of their daily Sharpe ratios."""
    family = family_of({"universe": result.universe, "account_currency": result.account_currency})
    count, ratios = trials.count(family), trials.sharpes(PERIODS, family)
    if returns is not None:
        own = statistics.sharpe(returns, 1)
        # A result does not know its strategy's settings, but nothing else has its ratio to nine digits.
        if not any(math.isclose(own, r, rel_tol=1e-9, abs_tol=1e-15) for r in ratios):
            count, ratios = count + 1, [*ratios, own]
    return max(count, 1), float(np.var(ratios, ddof=1)) if len(ratios) > 1 else None


def _add_money(figures: _Figures, result: BacktestResult, returns: FloatArray) -> None:
    """Where the money came from, and the days on which most was lost."""
    books = result.books
    before = books.nav[:-1]
    missing = "" if figures.missing == _FLAT else figures.missing
    parts = {term: getattr(books, term)[1:] / before for term in books.TERMS} if not missing else {}
    if parts:
        parts["other"] = parts.pop("translation") + parts.pop("rounding")
    for name in ("spot", "carry", "cost", "other"):
        figures.values[name] = float(parts[name].mean()) * PERIODS if parts else None
    figures.values["annual_return"] = float(returns.mean()) * PERIODS if parts else None
    figures.values["carry_capture"] = None if missing else _carry_capture(result)
    for name in ("spot", "carry", "cost", "other", "annual_return", "carry_capture"):
        if figures.values[name] is None:
            figures.reasons[name] = missing or "the mark-up is not known, or there was no interest to earn"
    figures.values["worst_days"] = [] if figures.missing else worst_days(result)
    if figures.missing:
        figures.reasons["worst_days"] = figures.missing


def _carry_capture(result: BacktestResult) -> float | None:
    """Interest booked over interest booked and mark-up paid; None where that was none or the mark-up is not known.

    The mark-up is made up from what was held at each day's end, its value, and calendar days / 365. Bookings use the
    days between value dates, which are the same days in another order.
    """
    if result.markup is None:
        return None
    ends = result.columns.is_day_end
    held = np.abs(result.columns.units[ends] * result.columns.base_value[ends])
    days = np.diff(result.columns.day[ends].astype("datetime64[D]")).astype(float)
    paid = result.markup / 365 * float(np.nansum(held[:-1], 1) @ days)
    booked = float(result.books.carry.sum())
    return booked / (booked + paid) if booked + paid > 0 else None


def _compare(result: BacktestResult, against: BacktestResult) -> dict[str, Any]:
    """The paired difference on the days both have."""
    one, other = result.returns, against.returns
    shared = one.index.intersection(other.index)
    one, other = one[shared], other[shared]
    names = [a.name for a in attrs.fields(statistics.Difference)]
    values: dict[str, Any] = dict.fromkeys(names)
    if len(shared) >= 3 and min(result.books.nav.min(), against.books.nav.min()) > 0:
        found = statistics.sharpe_difference(one, other, PERIODS, min(MEAN_BLOCK, len(shared)))
        if math.isfinite(found.difference) and math.isfinite(found.p_value):
            values = attrs.asdict(found)
    return {"strategy": against.strategy, "days": len(shared), **values}


def _overfitting(candidates: Sequence[BacktestResult]) -> float:
    if len(candidates) < 2:
        return math.nan
    shared = candidates[0].returns.index
    for candidate in candidates:
        shared = shared.intersection(candidate.returns.index)
    table = np.column_stack([candidate.returns[shared].to_numpy() for candidate in candidates])
    return statistics.probability_of_backtest_overfitting(table, _BLOCKS)


def _outcome(result: BacktestResult) -> dict[str, Any]:
    return {key: result.stats[key] for key in ("annual_return", "sharpe", "sharpe_se", "halted")}


def _shown(placebo: Placebo) -> dict[str, Any]:
    low, median, high = np.quantile(placebo.drawn, [0.05, 0.5, 0.95]).tolist()
    return {
        "draws": len(placebo.sharpes),
        "sharpe": placebo.sharpe,
        "percentile": placebo.percentile,
        "p_value": placebo.p_value,
        "low": low,
        "median": median,
        "high": high,
    }
