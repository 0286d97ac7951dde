"""Fitted regimes, which need ``fxcarry[ml]``. All are walk-forward: a model is fitted on rows before a cut, and asked
about the newest row with nothing after it.

The cuts are every ``refit`` rows of the history, counted from its first: where they fall depends on the data alone. A
fit is remembered by the data it was made from, so a long run fits once a year and an answer is never another one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from importlib import import_module
from typing import Any

import attrs
import numpy as np

from fxcarry.errors import ConfigError, DataError, MissingDataError, PluginError
from fxcarry.market import MarketView, RateSeries, TimeArray
from fxcarry.model import FloatArray
from fxcarry.regimes.volatility import ALL_ROWS, TRADING_DAYS, at_least, foreign_rows, fraction, realised_volatility

WEEK = 5
MONTH = 21
_FEW = 2 * TRADING_DAYS  # rows a model is not fitted below
_LEAST_LABELS = 12


def needs(package: str) -> Any:
    """A module of the extra ``ml``; PluginError where it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        raise PluginError(
            f"{package.split('.')[0]} is not installed", hint='pip install "fxcarry[ml]"', fields={"package": package}
        ) from error


def basket_returns(spot: FloatArray, days: int = WEEK) -> FloatArray:
    """Percent log returns of the equally weighted basket against the account currency, over blocks of ``days`` rows.

    The blocks are counted from the first row, and one that is not over is left out. A currency counts in a block that
    it has both ends of; a block without any is left out.
    """
    changes = 100.0 * np.diff(np.log(spot[::days]), axis=0)
    known = np.isfinite(changes)
    is_there = known.any(1)
    return np.asarray(np.where(known, changes, 0.0).sum(1)[is_there] / known.sum(1)[is_there])


def turbulent(variances: Any) -> int:
    """Which state is the turbulent one: that of the largest variance, whatever number a fit gave it."""
    return int(np.argmax(variances))


def _quietly(fit: Callable[[], Any]) -> Any:
    """A fit without the warnings of its optimizer; what comes of it is checked instead."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return fit()


@attrs.frozen(eq=False)
class _Fits:
    """Fits by the data they were made from."""

    made: dict[bytes, Any] = attrs.field(init=False, factory=dict)

    def get(self, data: tuple[FloatArray, ...], fit: Callable[[], Any]) -> Any:
        """The fit of this data, made now if it is new."""
        digest = blake2b(digest_size=16)
        for array in data:
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        if key not in self.made:
            self.made[key] = fit()
        return self.made[key]


@attrs.frozen(kw_only=True, eq=False)
class _TwoStates:
    """Two states of the basket's weekly returns, told apart by their variance."""

    threshold: float = attrs.field(default=0.5, validator=fraction)
    exposure: float = attrs.field(default=0.5, validator=fraction)
    refit: int = attrs.field(default=TRADING_DAYS, validator=at_least(WEEK))
    warmup: int = attrs.field(default=4 * TRADING_DAYS, validator=at_least(_FEW))
    _fits: _Fits = attrs.field(init=False, factory=_Fits, repr=False)

    def __call__(self, view: MarketView) -> float:
        """The exposure to hold."""
        return self.exposure if self.probability(view) >= self.threshold else 1.0

    def probability(self, view: MarketView) -> float:
        """Of the turbulent state in the newest whole week, given the past alone; 0 before ``warmup`` rows."""
        spot = foreign_rows(view)
        cut = len(spot) // self.refit * self.refit
        if cut < self.warmup:
            return 0.0
        past, returns = basket_returns(spot[:cut]), basket_returns(spot)
        if not past.any():  # a peg has one state
            return 0.0
        fitted = self._fits.get((past,), partial(_quietly, partial(self._fit, past)))
        found = float(self._filter(fitted, returns))
        if not np.isfinite(found):
            raise DataError(
                f"{type(self).__name__} found no two states in the returns up to {view.as_of:%Y-%m-%d}",
                hint="two states need returns that vary: choose a longer history, or VolatilityRegime",
            )
        return found

    def _fit(self, past: FloatArray) -> Any:
        raise NotImplementedError

    def _filter(self, fitted: Any, returns: FloatArray) -> float:
        raise NotImplementedError


@attrs.frozen(kw_only=True, eq=False)
class MarkovSwitching(_TwoStates):
    """``exposure`` while the turbulent state of a Markov switching model has a probability of ``threshold`` or more.

    Hamilton (1989) as in statsmodels' ``MarkovRegression``: two states, each with its own mean and variance of the
    basket's weekly return. Parameters are those of the last cut; the probability is the filtered one of the newest
    week, never the smoothed one. 1 until the first cut at or after ``warmup`` rows.
    """

    def _model(self, returns: FloatArray) -> Any:
        switching = needs("statsmodels.tsa.regime_switching.markov_regression")
        return switching.MarkovRegression(returns, k_regimes=2, trend="c", switching_variance=True)

    def _fit(self, past: FloatArray) -> FloatArray:
        return np.asarray(self._model(past).fit(disp=False, cov_type="none").params)

    def _filter(self, fitted: FloatArray, returns: FloatArray) -> float:
        known = self._model(returns).filter(fitted, cov_type="none").filtered_marginal_probabilities
        return float(known[-1, turbulent(fitted[-2:])])


@attrs.frozen(kw_only=True, eq=False)
class HiddenMarkov(_TwoStates):
    """``exposure`` while the turbulent state of a Gaussian hidden Markov model has probability ``threshold`` or more.

    hmmlearn's ``GaussianHMM`` with two states of the basket's weekly return and the logarithm of its absolute value.
    The fit starts from the calmer and the wilder half of the weeks, without chance. ``predict_proba`` of a whole series
    is smoothed: all of its rows but the last know what came after them. It is therefore asked about the past up to
    now, and only the last row is kept. 1 until the first cut at or after ``warmup`` rows.
    """

    def _fit(self, past: FloatArray) -> Any:
        data = self._features(past)
        is_wild = data[:, 1] > np.median(data[:, 1])
        model = needs("hmmlearn.hmm").GaussianHMM(2, "diag", n_iter=200, tol=1e-4, init_params="")
        halves = self._order(data[~is_wild], data[is_wild])
        model.startprob_ = np.array([0.5, 0.5])
        model.transmat_ = np.array([[0.95, 0.05], [0.05, 0.95]])
        model.means_ = np.array([half.mean(0) for half in halves])
        model.covars_ = np.array([half.var(0) + 1e-3 for half in halves])
        return model.fit(data)

    def _filter(self, fitted: Any, returns: FloatArray) -> float:
        variances = [covariance[0, 0] for covariance in fitted.covars_]
        return float(fitted.predict_proba(self._features(returns))[-1, turbulent(variances)])

    @staticmethod
    def _features(returns: FloatArray) -> FloatArray:
        return np.column_stack([returns, np.log(np.abs(returns) + 0.05)])

    @staticmethod
    def _order(calm: FloatArray, wild: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Which half each state starts from; the answer does not depend on it."""
        return calm, wild


@attrs.frozen(kw_only=True, eq=False)
class LogisticRegime:
    """``exposure`` while a logistic regression gives a carry loss next month a probability of ``threshold`` or more.

    Features, as known that day: realised volatility (63 rows), its 21-row level over it, the mean correlation of the
    currencies (63 rows), the dispersion of carry, and the drawdown of carry from its high of the last 260 rows. Carry
    is long the ``k`` best and short the ``k`` worst by carry of the day before. The label of a day is whether that book
    loses over the next 21 rows; a day whose label is not over at the cut is no part of the fit. scikit-learn's
    ``LogisticRegression`` (L2, strength ``1/c``) with its scaler fitted inside, on one day of every 21.

    ``rates`` are those of the history the run is made of (``history.rates``): a view has the carry of today, not of the
    past. Only vintages that were available at a row are read for it. 1 until the first cut at or after ``warmup`` rows.
    """

    rates: Mapping[str, RateSeries] = attrs.field(repr=False)
    threshold: float = attrs.field(default=0.5, validator=fraction)
    exposure: float = attrs.field(default=0.5, validator=fraction)
    refit: int = attrs.field(default=TRADING_DAYS, validator=at_least(MONTH))
    warmup: int = attrs.field(default=4 * TRADING_DAYS, validator=at_least(_FEW))
    k: int = attrs.field(default=3, validator=at_least(1))
    c: float = attrs.field(default=1.0)
    _fits: _Fits = attrs.field(init=False, factory=_Fits, repr=False)

    def __attrs_post_init__(self) -> None:
        if not self.c > 0:
            raise ConfigError(f"c is {self.c}", hint="a number > 0; smaller is more cautious")

    def __call__(self, view: MarketView) -> float:
        """The exposure to hold."""
        return self.exposure if self.probability(view) >= self.threshold else 1.0

    def probability(self, view: MarketView) -> float:
        """Of a carry loss over the next 21 rows, given the past alone; 0 before ``warmup`` rows."""
        spot = foreign_rows(view)
        cut = len(spot) // self.refit * self.refit
        if cut < self.warmup:
            return 0.0
        carry = self._carry(view)
        fitted = self._fits.get((spot[:cut], carry[:cut]), partial(self._fit, spot[:cut], carry[:cut]))
        [now], _ = features_of(spot, carry, self.k, np.array([len(spot) - 1]))
        return float(fitted(now)) if np.isfinite(now).all() else 0.0

    def _carry(self, view: MarketView) -> FloatArray:
        at: TimeArray = view.history(ALL_ROWS).index.to_numpy(dtype="datetime64[ns]")
        names = [c for c in view.currencies if c != view.account_currency]
        missing = [c for c in (*names, view.account_currency) if c not in self.rates]
        if missing:
            raise MissingDataError(
                f"no rates for {missing[0]} in the rates of LogisticRegime",
                hint="give it history.rates of the history the run is made of",
            )
        ours = self.rates[view.account_currency].values(at)
        return np.stack([self.rates[c].values(at) - ours for c in names], 1)

    def _fit(self, spot: FloatArray, carry: FloatArray) -> Callable[[FloatArray], float]:
        days = purged(len(spot))
        features, book = features_of(spot, carry, self.k, days)
        label = book[days + MONTH] < book[days]
        is_known = np.isfinite(features).all(1)
        features, label = features[is_known], label[is_known]
        if len(label) < _LEAST_LABELS or label.all() or not label.any():
            share = float(label.mean()) if len(label) else 0.0
            return lambda row: share  # nothing to tell apart
        linear, preprocessing, pipeline = map(
            needs, ("sklearn.linear_model", "sklearn.preprocessing", "sklearn.pipeline")
        )
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear.LogisticRegression(C=self.c))
        model.fit(features, label)
        return lambda row: float(model.predict_proba(row[None])[0, 1])


def purged(cut: int) -> Any:
    """The days a fit on ``cut`` rows may learn from: one of every 21, each with its next 21 rows over by the cut."""
    return np.arange(0, cut - MONTH, MONTH)


def features_of(spot: FloatArray, carry: FloatArray, k: int, days: Any) -> tuple[FloatArray, FloatArray]:
    """The features of the rows ``days``, and the log value of the carry book (``k`` a side) at the end of every row.

    ``carry`` is what each currency paid (annual) as known at the row. NaN where a feature is not known.
    """
    returns = np.vstack([np.full((1, spot.shape[1]), np.nan), np.diff(np.log(spot), axis=0)])
    book = np.cumsum(_book_returns(returns, carry, k))
    slow, fast = realised_volatility(spot, 3 * MONTH)[days], realised_volatility(spot, MONTH)[days]
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.where(slow > 0, fast / slow - 1.0, np.nan)
    correlation = [mean_correlation(returns[max(0, day + 1 - 3 * MONTH) : day + 1]) for day in days]
    fall = [book[day] - book[max(0, day + 1 - TRADING_DAYS) : day + 1].max() for day in days]
    features = np.column_stack([slow, change, correlation, _dispersion(carry[days]), fall])
    return features.reshape(len(days), 5), book


def _book_returns(returns: FloatArray, carry: FloatArray, k: int) -> FloatArray:
    """Daily log return of the book chosen by the carry of the row before, its interest included."""
    before = np.vstack([np.full((1, carry.shape[1]), np.nan), carry[:-1]])
    usable = np.isfinite(before) & np.isfinite(returns)
    members = usable.sum(1)
    side = np.minimum(k, members // 2)
    low = np.argsort(np.argsort(np.where(usable, before, np.inf), axis=1, kind="stable"), axis=1)
    sign = (low >= (members - side)[:, None]).astype(float) - (low < side[:, None])
    earned = np.where(usable, returns + before / TRADING_DAYS, 0.0) * sign
    return np.asarray((np.where(usable, earned, 0.0)).sum(1) / np.maximum(side, 1))


def mean_correlation(returns: FloatArray) -> float:
    """Mean correlation of the pairs of columns, of daily returns whose mean is taken to be zero; NaN below two columns.

    From the sum of the standardised returns: with z of unit mean square, mean((Σᵢ zᵢ)²) = Σᵢⱼ ρᵢⱼ, of which n are 1.
    """
    size = np.sqrt((returns**2).mean(0))
    known = np.isfinite(size) & (size > 0)
    n = int(known.sum())
    if n < 2:
        return float("nan")
    total = ((returns[:, known] / size[known]).sum(1) ** 2).mean()
    return float((total - n) / (n * (n - 1)))


def _dispersion(carry: FloatArray) -> FloatArray:
    known = np.isfinite(carry)
    members = np.maximum(known.sum(1), 1)[:, None]
    filled = np.where(known, carry, 0.0)
    centred = np.where(known, carry - filled.sum(1, keepdims=True) / members, 0.0)
    spread = np.sqrt((centred**2).sum(1) / members[:, 0])
    return np.asarray(np.where(known.sum(1) >= 2, spread, np.nan))
