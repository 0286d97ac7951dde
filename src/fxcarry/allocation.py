"""Carry scores to weights: rankings, risk parity, minimum variance, and mean–variance with costs.

A *weight* is the signed exposure to one currency as a fraction of NAV; the account currency is the residual and has
none. A *carry* is the annual decimal earned by being long the currency; a carry of NaN says the currency is not
available, which always means a weight of 0. A covariance is annual.

Every rule exists twice. The plain name takes and returns pandas objects labelled by currency. The name ending in
``_array`` does the work on numpy arrays in universe order, for callers in a loop; it sees no labels, so where ties
matter it takes ``tie_order``, the alphabetical rank of each currency; ``names`` serve only to word errors.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum, inf, isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import ConfigError, DataError, MissingDataError
from fxcarry.model import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    PerCurrency = float | FloatArray | pd.Series[float]

_SPREAD = 1e-12  # carries closer than this, relative to the largest, are equal: their difference is rounding
_SINGULAR = 1e-12  # share of a currency's variance the others must leave unexplained
_SETTLED = 1e-13  # a descent ends when no weight moves more than this, relative to the largest
_ROUNDS = 1000  # a descent takes a handful of rounds; needing this many means it never ends


# --- rankings --------------------------------------------------------------------------------------------------------


def high_minus_low(carry: pd.Series[float], k: int = 3) -> pd.Series[float]:
    """Long the ``k`` highest carries at +1/k each, short the ``k`` lowest at −1/k each, 0 elsewhere.

    Of equal carries the earlier ISO code ranks higher. With fewer than 2k currencies available, k becomes half their
    number, rounded down, so the sides stay equal; with fewer than two there is no position. Raises ConfigError if
    ``k`` is not a positive integer and DataError for an infinite carry or a currency listed twice. Lustig, Roussanov
    and Verdelhan (2011).
    """
    return _labelled(high_minus_low_array(_scores(carry), k, _tie_order(carry.index)), carry)


def high_minus_low_array(carry: FloatArray, k: int = 3, tie_order: NDArray[np.int64] | None = None) -> FloatArray:
    """The array form of :func:`high_minus_low`; without ``tie_order`` the earlier position ranks higher."""
    if k < 1 or k != int(k):
        raise ConfigError(f"k is {k!r}", hint="k is the number of currencies on each side: 1, 2, 3, …")
    values = carry.tolist()
    ties = range(len(values)) if tie_order is None else tie_order.tolist()
    ranked = sorted([(-c, tie, i) for i, (c, tie) in enumerate(zip(values, ties)) if c == c])
    if ranked and (ranked[0][0] == -inf or ranked[-1][0] == inf):
        _refuse_infinite(carry)
    weights = np.zeros(len(values))
    side = min(int(k), len(ranked) // 2)
    for _, _, i in ranked[:side]:
        weights[i] = 1.0 / side
    for _, _, i in ranked[len(ranked) - side :]:
        weights[i] = -1.0 / side
    return weights


def sign_weights(carry: pd.Series[float]) -> pd.Series[float]:
    """The sign of each carry over the number of currencies available, so Σ|w| ≤ 1; carries net exposure.

    Raises DataError for an infinite carry or a currency listed twice.
    """
    return _labelled(sign_weights_array(_scores(carry)), carry)


def sign_weights_array(carry: FloatArray) -> FloatArray:
    """The array form of :func:`sign_weights`."""
    here, known = _available(carry)
    return _placed(carry, here, [((c > 0) - (c < 0)) / len(known) for c in known])


def rank_weights(carry: pd.Series[float]) -> pd.Series[float]:
    """Weights proportional to the carry's rank less the mean rank, scaled so that Σ|w| = 2.

    Equal carries share their average rank. When all are equal, or fewer than two are available, every weight is 0.
    Raises DataError for an infinite carry or a currency listed twice.
    """
    return _labelled(rank_weights_array(_scores(carry)), carry)


def rank_weights_array(carry: FloatArray) -> FloatArray:
    """The array form of :func:`rank_weights`."""
    here, known = _available(carry)
    rising = sorted(known)
    # The number below less the number above is twice the demeaned average rank.
    return _placed(
        carry, here, _two_sided([bisect_left(rising, c) + bisect_right(rising, c) - len(known) for c in known])
    )


def linear_weights(carry: pd.Series[float]) -> pd.Series[float]:
    """Weights proportional to the carry less its mean, scaled so that Σ|w| = 2.

    Carries are first winsorized, once, at the cross-sectional mean ± 2 standard deviations, because one very high
    rate would otherwise take most of the long side. The available currencies are the whole cross-section, not
    a sample of one, so the standard deviation divides by N (ddof 0); with five currencies or fewer nothing can lie
    outside. When all carries are equal, or fewer than two are available, every weight is 0. Raises DataError for an
    infinite carry or a currency listed twice.
    """
    return _labelled(linear_weights_array(_scores(carry)), carry)


def linear_weights_array(carry: FloatArray) -> FloatArray:
    """The array form of :func:`linear_weights`."""
    here, known = _available(carry)
    if not known or max(known) - min(known) <= _SPREAD * max(map(abs, known)):
        return np.zeros(len(carry))
    mean = fsum(known) / len(known)
    limit = 2.0 * sqrt(fsum([(c - mean) ** 2 for c in known]) / len(known))
    clipped = [min(max(c - mean, -limit), limit) for c in known]
    mean = fsum(clipped) / len(clipped)
    return _placed(carry, here, _two_sided([c - mean for c in clipped]))


def side_bounds(carry: pd.Series[float], k: int, cap: float) -> tuple[pd.Series[float], pd.Series[float]]:
    """Lower and upper bounds that allow at most ``k`` names a side, for :func:`mean_variance`.

    The k highest carries may be long, in [0, cap]; the k lowest may be short, in [−cap, 0]; the rest are held at 0.
    Ranks, ties and small universes are those of :func:`high_minus_low`, and so are the errors; ConfigError also if
    ``cap`` is not a positive number.
    """
    lower, upper = side_bounds_array(_scores(carry), k, cap, _tie_order(carry.index))
    return _labelled(lower, carry), _labelled(upper, carry)


def side_bounds_array(
    carry: FloatArray, k: int, cap: float, tie_order: NDArray[np.int64] | None = None
) -> tuple[FloatArray, FloatArray]:
    """The array form of :func:`side_bounds`."""
    if not 0 < cap < inf:
        raise ConfigError(f"cap is {cap!r}", hint="give the largest weight of one currency, such as 0.3")
    side = high_minus_low_array(carry, k, tie_order)
    return np.where(side < 0, -cap, 0.0), np.where(side > 0, cap, 0.0)


# --- risk ------------------------------------------------------------------------------------------------------------


def inverse_volatility(cov: pd.DataFrame) -> pd.Series[float]:
    """Long-only weights proportional to 1/volatility, summing to 1.

    Raises DataError if a variance is not a positive number or ``cov`` is not a finite symmetric covariance.
    """
    return _labelled(inverse_volatility_array(_covariance(cov, cov.index), cov.index.tolist()), cov)


def inverse_volatility_array(cov: FloatArray, names: Sequence[str] | None = None) -> FloatArray:
    """The array form of :func:`inverse_volatility`."""
    inverse = 1.0 / _volatilities(cov, names)
    weights: FloatArray = inverse / inverse.sum()
    return weights


def equal_risk_contribution(cov: pd.DataFrame) -> pd.Series[float]:
    """Long-only weights, summing to 1, with w_i·(Σw)_i the same for every currency.

    The minimum of ½y'Cy − (1/n)Σ ln y_i over the correlation matrix C, by damped Newton steps, then w ∝ y/σ: Spinu
    (2013), "An algorithm for computing risk parity weights". Contributions are equal to 1e-10 of the total. Raises
    DataError if a variance is not a positive number, if ``cov`` is not a finite symmetric covariance, or if a
    long-only book without any risk exists, for then no book has equal contributions.
    """
    return _labelled(equal_risk_contribution_array(_covariance(cov, cov.index), cov.index.tolist()), cov)


def equal_risk_contribution_array(cov: FloatArray, names: Sequence[str] | None = None) -> FloatArray:
    """The array form of :func:`equal_risk_contribution`."""
    volatility = _volatilities(cov, names)
    n = len(volatility)
    corr = cov / np.outer(volatility, volatility)
    if n and np.linalg.eigvalsh(corr)[0] < -n * _SINGULAR:
        raise DataError("the covariance is not positive semi-definite", hint="use covariance.ledoit_wolf")
    y = np.full(n, 1.0 / sqrt(max(corr.sum(), 1.0)))
    while y.max(initial=0.0) < 1e6:  # y is the inverse of a book's risk per unit of its members' risk
        gradient = n * (corr @ y) - 1.0 / y
        step = np.linalg.solve(n * corr + np.diag(y**-2), gradient)
        decrement = sqrt(max(gradient @ step, 0.0))
        y = y - step / (1.0 + decrement if decrement > 0.25 else 1.0)
        if decrement < 1e-7:  # it squares with each step, so y is now exact to rounding
            weights: FloatArray = y / volatility
            return weights / float(weights.sum())
    raise DataError(
        "no book has equal risk contributions: a long-only one without risk exists",
        hint="some currencies move exactly against others; shrink the covariance or drop one",
    )


def minimum_variance(cov: pd.DataFrame, carry: pd.Series[float], target_carry: float) -> pd.Series[float]:
    """The least volatile weights that earn ``target_carry`` a year: Σ⁻¹c·τ/(c'Σ⁻¹c), long or short, not capped.

    With a fixed target the leverage explodes when differentials compress; :func:`scale_to_volatility` scales by risk
    instead. Ackermann, Pohl and Schmedders (2017). Raises MissingDataError if ``cov`` lacks an available currency,
    DataError if the covariance is singular or no currency has any carry while the target is not 0.
    """
    known = _scores(carry)
    cov_values = _covariance(cov, carry.index, known == known)
    return _labelled(minimum_variance_array(cov_values, known, target_carry, carry.index.tolist()), carry)


def minimum_variance_array(
    cov: FloatArray, carry: FloatArray, target_carry: float, names: Sequence[str] | None = None
) -> FloatArray:
    """The array form of :func:`minimum_variance`."""
    if not abs(target_carry) < inf:
        raise ConfigError(f"target_carry is {target_carry!r}", hint="give an annual decimal such as 0.05")
    here, known = _available(carry)
    if not any(known):
        if target_carry:
            raise DataError(f"no currency has any carry, so none can earn {target_carry:g}", hint="hold nothing")
        return np.zeros(len(carry))
    block = cov[np.ix_(here, here)]
    _refuse_singular(block, here, names)
    direction = np.linalg.solve(block, known)
    return _placed(carry, here, (direction * (target_carry / (known @ direction))).tolist())


def scale_to_volatility(
    weights: pd.Series[float], cov: pd.DataFrame, target: float, gross_cap: float, position_cap: float | None = None
) -> pd.Series[float]:
    """``weights`` times min(target/√(w'Σw), gross_cap/Σ|w|, position_cap/max|w|), up or down, signs kept.

    ``target`` is annual volatility as a decimal, the caps are fractions of NAV. All-zero weights stay zero. Weights
    that are not zero but have no volatility raise DataError: that covariance has no history in it, and scaling by it
    would go straight to the caps. DataError also for a weight or covariance that is not finite, MissingDataError if
    ``cov`` lacks a currency with a weight, ConfigError if the target or a cap is not a positive number.
    """
    values = _scores(weights)
    cov_values = _covariance(cov, weights.index, values != 0)
    return _labelled(scale_to_volatility_array(values, cov_values, target, gross_cap, position_cap), weights)


def scale_to_volatility_array(
    weights: FloatArray, cov: FloatArray, target: float, gross_cap: float, position_cap: float | None = None
) -> FloatArray:
    """The array form of :func:`scale_to_volatility`."""
    largest = inf if position_cap is None else position_cap
    if not (0 < target < inf and 0 < gross_cap < inf and largest > 0):
        raise ConfigError(
            f"target is {target!r}, gross_cap {gross_cap!r}, position_cap {position_cap!r}",
            hint="each is a positive number, such as 0.08, 2.0 and 0.3",
        )
    held = np.flatnonzero(weights)
    if not len(held):
        return np.zeros(len(weights))
    legs, block = weights.take(held), cov.take(held, 0).take(held, 1)
    size = abs(legs)
    variance = float(legs @ block @ legs)
    undiversified = float(size @ np.sqrt(abs(block.diagonal())))
    if not variance > 1e-14 * undiversified**2:
        raise DataError(
            f"the variance of the weights is {variance:g}",
            hint="a currency with a weight needs a history of returns and a finite weight; floor a peg's volatility",
        )
    gross = float(size.sum())
    scaled: FloatArray = weights * min(target / sqrt(variance), gross_cap / gross, largest / float(size.max()))
    return scaled


# --- mean–variance with costs ----------------------------------------------------------------------------------------


def mean_variance(
    carry: pd.Series[float],
    cov: pd.DataFrame,
    previous: pd.Series[float],
    *,
    risk_aversion: float,
    trading_cost: PerCurrency,
    markup: PerCurrency,
    lower: PerCurrency,
    upper: PerCurrency,
    gross: float,
) -> pd.Series[float]:
    """The weights w that maximize c'w − (γ/2)·w'Σw − Σκ_i·|w_i − previous_i| − Σm_i·|w_i|.

    Subject to lower ≤ w ≤ upper and Σ|w| ≤ gross. All terms are annual decimals of NAV: ``carry`` c, ``cov`` Σ,
    ``risk_aversion`` γ > 0, ``trading_cost`` κ ≥ 0 per unit of weight traded times rebalances a year, ``markup``
    m ≥ 0 of the financing on either side. ``previous`` is what is held now; a currency absent from it is not held.
    The four limits and costs are one number, an array in the order of ``carry``, or a Series by currency; a bound
    and ``gross`` may be infinite. The optimum is unique and exact to about 1e-9.

    Raises ConfigError if a bound or cost makes no sense or no weights satisfy the limits; MissingDataError if
    ``cov``, or a Series, lacks an available currency; DataError for an infinite carry, a holding outside ``carry``,
    or a covariance that is singular among the currencies that may be held. Maurer, Pezzo and Taylor.
    """
    values = _scores(carry)
    unknown = previous.index.difference(carry.index)
    if len(unknown):
        raise DataError(f"{unknown[0]} is held but has no carry", hint="give it a carry of NaN and bounds of 0")
    before = _scores(previous.reindex(carry.index, fill_value=0.0))
    cost, mark, low, high = (_per_currency(x, carry.index) for x in (trading_cost, markup, lower, upper))
    held = (values == values) & ~((low == 0) & (high == 0))
    weights = mean_variance_array(
        values,
        _covariance(cov, carry.index, held),
        before,
        risk_aversion=risk_aversion,
        trading_cost=cost,
        markup=mark,
        lower=low,
        upper=high,
        gross=gross,
        names=carry.index.tolist(),
    )
    return _labelled(weights, carry)


def mean_variance_array(
    carry: FloatArray,
    cov: FloatArray,
    previous: FloatArray,
    *,
    risk_aversion: float,
    trading_cost: float | FloatArray,
    markup: float | FloatArray,
    lower: float | FloatArray,
    upper: float | FloatArray,
    gross: float,
    names: Sequence[str] | None = None,
) -> FloatArray:
    """The array form of :func:`mean_variance`; ``cov`` must be symmetric.

    The cap on Σ|w| is priced: with a charge λ added to every mark-up, the gross of the best weights falls
    continuously, and piecewise linearly, as λ rises. Where the cap binds, the λ ≥ 0 at which the gross meets it is
    found by safeguarded Newton steps.
    """
    if not 0 < risk_aversion < inf:
        raise ConfigError(f"risk_aversion is {risk_aversion!r}", hint="give a positive number; 2 to 10 is usual")
    if not gross >= 0:
        raise ConfigError(f"gross is {gross!r}", hint="give the largest sum of absolute weights, such as 2.0")
    n = len(carry)
    if cov.shape != (n, n):
        raise ConfigError(f"a covariance of shape {cov.shape} for {n} currencies", hint="give one row a currency")
    columns = [_floats(x, n) for x in (carry, previous, trading_cost, markup, lower, upper)]
    used = []
    for i, (c, p, cost, mark, low, high) in enumerate(zip(*columns)):
        if not (low <= high and low < inf and high > -inf):
            raise ConfigError(f"{_name(i, names)}: bounds [{low}, {high}]", hint="lower is at most upper")
        if not (0 <= cost < inf and 0 <= mark < inf):
            raise ConfigError(f"{_name(i, names)}: trading_cost {cost}, markup {mark}", hint="costs are 0 or more")
        if not abs(p) < inf or abs(c) == inf:
            raise DataError(f"{_name(i, names)}: carry {c}, previous weight {p}", hint="use finite numbers")
        if c != c and not low <= 0 <= high:
            raise ConfigError(f"{_name(i, names)}: bounds [{low}, {high}] but no carry", hint="let it be 0")
        if c == c and not low == high == 0:
            used.append(i)
    weights = np.zeros(n)
    if not used:
        return weights
    matrix = cov.take(used, 0).take(used, 1)
    _refuse_singular(matrix, used, names)
    rows = [row for i, row in enumerate(zip(*columns)) if i in used]
    weights[used] = _capped(risk_aversion * matrix, rows, gross)
    return weights


def routed_mean_variance_array(
    carry: FloatArray,
    cov: FloatArray,
    previous: FloatArray,
    *,
    risk_aversion: float,
    trading_cost: float | FloatArray,
    markup: float,
    lower: float | FloatArray,
    upper: float | FloatArray,
    gross: float,
    names: Sequence[str] | None = None,
) -> FloatArray:
    """:func:`mean_variance_array` where the book is held in the cheapest pairs, crosses included.

    With one ``markup`` for all pairs the least gross of pairs that holds the weights is ½(Σ|w| + |Σw|): every pair
    serves two currencies, the account currency being one of them. The mark-up term becomes that times ``markup``. The
    slope of ½·markup·|Σw| acts like a common change μ of all carries; the one in [−markup/2, markup/2] that belongs to
    the optimum is found by safeguarded secant steps, Σw falling as μ rises.
    """

    def best(shift: float) -> FloatArray:
        return mean_variance_array(
            carry - shift,
            cov,
            previous,
            risk_aversion=risk_aversion,
            trading_cost=trading_cost,
            markup=markup / 2,
            lower=lower,
            upper=upper,
            gross=gross,
            names=names,
        )

    high = markup / 2
    low, weights = -high, best(high)
    above = float(weights.sum())
    if above >= 0 or high == 0:
        return weights
    weights = best(low)
    below = float(weights.sum())
    if below <= 0:
        return weights
    was_low: bool | None = None  # which end moved last: twice the same, and the other's value is halved (Illinois)
    for _ in range(_ROUNDS):
        shift = low + (high - low) * below / (below - above)
        if not low < shift < high:
            break
        weights = best(shift)
        net = float(weights.sum())
        if abs(net) <= 1e-13:
            break
        if net > 0:
            low, below, above = shift, net, above * (0.5 if was_low is True else 1.0)
        else:
            high, above, below = shift, net, below * (0.5 if was_low is False else 1.0)
        was_low = net > 0
    return weights


class _Term(NamedTuple):
    """One weight's bounds and the kinks of its costs: slope −outer, inner, +outer below, between, above the kinks."""

    lower: float
    upper: float
    left: float
    right: float
    outer: float
    inner: float


def _term(previous: float, cost: float, mark: float, lower: float, upper: float) -> _Term:
    """Kinks at the previous weight (for the trading cost) and at 0 (for the mark-up), in order of position."""
    if mark == 0:
        return _Term(lower, upper, previous, previous, cost, cost)
    if cost == 0:
        return _Term(lower, upper, 0.0, 0.0, mark, mark)
    if previous < 0:
        return _Term(lower, upper, previous, 0.0, cost + mark, cost - mark)
    return _Term(lower, upper, 0.0, previous, cost + mark, mark - cost)


def _capped(matrix: FloatArray, rows: list[tuple[float, ...]], gross: float) -> list[float]:
    """Minimize ½w'Qw − c'w + costs within bounds and Σ|w| ≤ gross; rows of c, previous, cost, mark, lower, upper."""
    linear = [row[0] for row in rows]

    def best(charge: float, start: list[float], settled: bool = False) -> tuple[list[float], list[int]]:
        terms = [_term(p, cost, mark + charge, low, high) for _, p, cost, mark, low, high in rows]
        return _descend(matrix, linear, terms, start, settled)

    weights, free = best(0.0, [row[1] for row in rows])
    if sum(map(abs, weights)) <= gross:
        return weights
    nearest = [min(max(0.0, row[4]), row[5]) for row in rows]
    tolerance = 1e-12 * max(1.0, gross)
    least = sum(map(abs, nearest))
    if least > gross + tolerance:
        raise ConfigError(f"the bounds need a gross of {least:g}, above {gross:g}", hint="raise gross or widen bounds")
    # At the high charge nothing is worth holding beyond what the bounds require.
    within, low, high = nearest, 0.0, float((abs(np.array(linear) - matrix @ nearest) + [row[2] for row in rows]).max())
    charge = 0.0
    for _ in range(_ROUNDS):
        excess = sum(map(abs, weights)) - gross
        if abs(excess) <= tolerance:
            return weights
        if excess > 0:
            low = charge
        else:
            high, within = charge, weights
        if high - low <= 1e-15 * high:
            break
        newton, start = inf, weights.copy()
        if free:
            side = np.sign([weights[i] for i in free])
            path = np.linalg.solve(matrix.take(free, 0).take(free, 1), side)
            rise = excess / float(side @ path)
            newton = charge + rise
            for i, step in zip(free, (rise * path).tolist()):
                start[i] -= step
        if low < newton < high:
            charge = newton
            weights, free = best(charge, start, settled=True)
        else:
            charge = 0.5 * (low + high)
            weights, free = best(charge, weights)
    return within


def _descend(
    matrix: FloatArray, linear: list[float], terms: list[_Term], start: list[float], settled: bool
) -> tuple[list[float], list[int]]:
    """Minimize ½x'Qx − c'x + Σ cost(x_i) within bounds; also which weights rest on no bound or kink.

    Each round minimizes exactly over one weight after another, which finds the bounds and kinks to rest on, then
    takes a Newton step over the others, as far as the first bound or kink. Neither can raise the objective, and the
    end is the optimum: a full Newton step after which no single weight wants to move. ``settled`` says that ``start``
    comes from such a step.
    """
    quadratic = matrix.tolist()
    positions = range(len(start))
    x = [min(max(v, t.lower), t.upper) for v, t in zip(start, terms)]
    slope = (matrix @ x).tolist()
    for _ in range(_ROUNDS):
        moved = 0.0
        for i in positions:
            row, now = quadratic[i], x[i]
            curve = row[i]
            lower, upper, left, right, outer, inner = terms[i]
            pull = linear[i] - slope[i] + curve * now
            v = (pull - outer) / curve
            if v < right:
                v = (pull - inner) / curve
                if v > right:
                    v = right
                elif v < left:
                    v = min((pull + outer) / curve, left)
            v = lower if v < lower else upper if v > upper else v
            if v != now:
                change = v - now
                x[i] = v
                slope = [s + q * change for s, q in zip(slope, row)]
                moved = max(moved, abs(change))
        free = [i for i in positions if x[i] not in terms[i][:4]]
        if (settled or not free) and moved <= _SETTLED * (1.0 + max(map(abs, x))):
            return x, free
        settled = False
        if free:
            pulls, pieces = [], []
            for i in free:
                v, (lower, upper, left, right, outer, inner) = x[i], terms[i]
                if v > right:
                    piece = max(lower, right), upper, outer
                elif v < left:
                    piece = lower, min(left, upper), -outer
                else:
                    piece = max(lower, left), min(right, upper), inner
                pieces.append(piece)
                pulls.append(linear[i] - slope[i] - piece[2])
            steps = np.linalg.solve(matrix.take(free, 0).take(free, 1), pulls).tolist()
            length, stop, edge = 1.0, -1, 0.0
            for i, step, (low, high, _) in zip(free, steps, pieces):
                ahead = high if step > 0 else low
                if not low <= x[i] + length * step <= high:
                    length, stop, edge = (ahead - x[i]) / step, i, ahead
            for i, step in zip(free, steps):
                x[i] += length * step
            if stop >= 0:
                x[stop] = edge
            settled = stop < 0
            slope = (matrix @ x).tolist()
    raise DataError("the optimizer did not settle", hint="the covariance is close to singular; shrink it")


# --- labels and checks -----------------------------------------------------------------------------------------------


def _labelled(values: FloatArray, like: pd.Series[float] | pd.DataFrame) -> pd.Series[float]:
    """``values`` as a Series by the currencies of ``like``."""
    import pandas as pd

    return pd.Series(values, index=like.index, dtype=float)


def _scores(series: pd.Series[float]) -> FloatArray:
    """A Series by currency as floats; an infinite value or a currency listed twice is an error."""
    if series.index.has_duplicates:
        twice = series.index[series.index.duplicated()][0]
        raise DataError(f"{twice} is listed twice", hint="give each currency one value")
    values = np.asarray(series.to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)
    _refuse_infinite(values, series.index.tolist())
    return values


def _tie_order(currencies: pd.Index) -> NDArray[np.int64]:
    """The alphabetical rank of each currency."""
    return np.argsort(np.argsort([str(c) for c in currencies])).astype(np.int64)


def _per_currency(value: PerCurrency, currencies: pd.Index) -> FloatArray:
    """One number, an array in order, or a Series by currency, as an array in order."""
    import pandas as pd

    if not isinstance(value, pd.Series):
        return np.array(_floats(value, len(currencies)))
    missing = currencies.difference(value.index)
    if len(missing):
        raise MissingDataError(f"a bound or cost lacks {missing[0]}", hint="give one for each currency of carry")
    return np.asarray(value.reindex(currencies).to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)


def _covariance(cov: pd.DataFrame, currencies: pd.Index, needed: NDArray[np.bool_] | None = None) -> FloatArray:
    """A covariance frame as an array in the order of ``currencies``; where not ``needed`` it may be absent or NaN."""
    if cov.index.has_duplicates or not cov.index.sort_values().equals(cov.columns.sort_values()):
        raise DataError("the covariance's rows and columns differ", hint="label both with the same currencies, once")
    use = np.ones(len(currencies), dtype=bool) if needed is None else needed
    missing = currencies[use].difference(cov.index)
    if len(missing):
        raise MissingDataError(f"the covariance lacks {missing[0]}", hint="estimate it over every currency held")
    values = cov.reindex(index=currencies, columns=currencies).to_numpy(dtype=float, na_value=np.nan)
    block = values[np.ix_(use, use)]
    if not np.isfinite(block).all():
        row = currencies[use][int(np.argmin(np.isfinite(block).all(axis=1)))]
        raise DataError(f"the covariance of {row} is not finite", hint="drop currencies without a history of returns")
    if abs(block - block.T).max(initial=0.0) > 1e-9 * abs(block).max(initial=0.0):
        raise DataError("the covariance is not symmetric", hint="average it with its transpose")
    return values


def _floats(value: float | FloatArray, n: int) -> list[float]:
    """``n`` floats from one number or an array of n."""
    if isinstance(value, np.ndarray):
        if value.shape != (n,):
            raise ConfigError(f"an array of shape {value.shape} for {n} currencies", hint="give one value a currency")
        floats: list[float] = value.tolist()
        return floats
    return [float(value)] * n


def _available(carry: FloatArray) -> tuple[list[int], list[float]]:
    """Where a carry is given, and those carries; an infinite one is an error."""
    values = carry.tolist()
    here = [i for i, c in enumerate(values) if c == c]
    known = [values[i] for i in here]
    if inf in known or -inf in known:
        _refuse_infinite(carry)
    return here, known


def _two_sided(tilt: Sequence[float]) -> list[float]:
    """Tilts that sum to 0, scaled so that their absolute sum is 2; zeros stay zeros."""
    size = sum(map(abs, tilt)) or 1.0
    return [2.0 * t / size for t in tilt]


def _placed(carry: FloatArray, here: list[int], known: Sequence[float]) -> FloatArray:
    """Weights in universe order: ``known`` at the positions ``here``, 0 elsewhere."""
    weights = np.zeros(len(carry))
    weights[here] = known
    return weights


def _volatilities(cov: FloatArray, names: Sequence[str] | None) -> FloatArray:
    """Square roots of the diagonal, each of which must be positive and finite."""
    variance = cov.diagonal()
    good = (variance > 0) & (variance < inf)
    if not good.all():
        i = int(np.argmin(good))
        raise DataError(f"the variance of {_name(i, names)} is {variance[i]}", hint="drop it or floor its volatility")
    return np.sqrt(variance)


def _name(i: int, names: Sequence[str] | None) -> str:
    """What an error calls the currency at position i."""
    return f"position {i}" if names is None else str(names[i])


def _refuse_infinite(values: FloatArray, names: Sequence[str] | None = None) -> None:
    """Raise DataError if a value is infinite; NaN is not."""
    bad = np.isinf(values)
    if bad.any():
        i = int(np.argmax(bad))
        raise DataError(f"{_name(i, names)} is {values[i]}", hint="NaN, not infinity, means not available")


def _refuse_singular(cov: FloatArray, positions: list[int], names: Sequence[str] | None) -> None:
    """Raise DataError unless each currency keeps some variance that the others do not explain."""
    try:
        if isfinite(cov.sum()):
            pivots = np.linalg.cholesky(cov).diagonal().tolist()
            if all(p * p > _SINGULAR * v for p, v in zip(pivots, cov.diagonal().tolist())):
                return
    except np.linalg.LinAlgError:
        pass
    raise DataError(
        f"the covariance of {', '.join(_name(i, names) for i in positions)} is singular or not finite",
        hint="a peg or too short a history; use covariance.ledoit_wolf or hold fewer currencies",
    )
