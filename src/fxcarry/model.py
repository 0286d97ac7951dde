"""The records that flow through fxcarry. All are frozen; money, units and prices on them are :class:`~decimal.Decimal`.

Moments are aware UTC datetimes, dates end in ``_date``, weights are fractions of NAV by currency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from fxcarry.errors import BadQuoteError, ConfigError

FloatArray = NDArray[np.float64]
_NO_FACTS: Mapping[str, Any] = MappingProxyType({})

# Records that a backtest makes by the thousand are declared slots=False: a frozen attrs class without slots is created
# about three times as fast.

# Market precedence, first = base; every other currency is quoted per USD, JPY last.
_PRECEDENCE = {c: i for i, c in enumerate(("EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF"))}
_HIGH_NUMBER = frozenset({"JPY", "HUF", "THB", "KRW", "CLP", "IDR", "COP", "INR", "TWD", "RUB", "PHP", "ISK"})


def check_currency(code: str, where: str = "currency") -> str:
    """Return ``code`` in upper case if it looks like an ISO 4217 code (three letters), else raise ConfigError."""
    if isinstance(code, str) and len(code) == 3 and code.isascii() and code.isalpha():
        return code.upper()
    raise ConfigError(f"{where}: {code!r} is not a three-letter currency code", hint='write it like "EUR"')


class Pair(NamedTuple):
    """A currency pair. A price is units of ``quote`` per one unit of ``base``; long the pair is long ``base``."""

    base: str
    quote: str

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read ``"AUDUSD"``, ``"AUD/USD"``, ``"AUD_USD"`` or ``"AUD.USD"``; raise ConfigError on anything else."""
        plain = str(text).strip()
        if len(plain) == 7 and plain[3] in "/_.-":
            plain = plain[:3] + plain[4:]
        if len(plain) != 6:
            raise ConfigError(f"{text!r} is not a currency pair", hint='write it like "AUDUSD", "AUD/USD" or "AUD_USD"')
        base, quote = check_currency(plain[:3], "base"), check_currency(plain[3:], "quote")
        if base == quote:
            raise ConfigError(f"{text!r} is not a currency pair: base and quote are the same")
        return cls(base, quote)

    @classmethod
    def market(cls, one: str, other: str) -> Pair:
        """The pair of two currencies in market order: ``Pair.market("USD", "EUR")`` is EURUSD."""

        def rank(currency: str) -> tuple[int, str]:
            return (99 if currency == "JPY" else _PRECEDENCE.get(currency, 50), currency)

        first, second = sorted((one.upper(), other.upper()), key=rank)
        return cls.parse(first + second)

    @property
    def inverse(self) -> Pair:
        """The same two currencies quoted the other way round."""
        return Pair(self.quote, self.base)

    @property
    def pip(self) -> Decimal:
        """A fallback pip size; take the broker's precision where there is one."""
        return Decimal("0.01") if self.quote in _HIGH_NUMBER else Decimal("0.0001")

    def __str__(self) -> str:
        return self.base + self.quote


def minor_digits(currency: str) -> int:
    """Decimal places that money in ``currency`` is posted with: none for JPY, KRW, CLP and ISK, else 2."""
    return 0 if currency in {"JPY", "KRW", "CLP", "ISK"} else 2


def to_decimal(value: Decimal | int | str | float) -> Decimal:
    """Convert exactly: a float goes through its shortest text, so 0.1 becomes Decimal('0.1')."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


@attrs.frozen
class Quote:
    """Bid and ask of a pair, and the instant they were observed. Raises BadQuoteError unless 0 < bid <= ask."""

    bid: Decimal
    ask: Decimal
    as_of: datetime

    def __attrs_post_init__(self) -> None:
        if not (self.bid.is_finite() and self.ask.is_finite() and 0 < self.bid <= self.ask):
            raise BadQuoteError(
                f"bid {self.bid} / ask {self.ask} at {self.as_of:%Y-%m-%d %H:%M:%S} is not a quote",
                hint="a quote needs 0 < bid <= ask",
                fields={"bid": self.bid, "ask": self.ask},
            )

    @property
    def mid(self) -> Decimal:
        """Half way between bid and ask."""
        return (self.bid + self.ask) / 2


@attrs.frozen(kw_only=True)
class Rate:
    """An annual interest rate as a decimal fraction (0.05 = 5 %), simple, with its own day count.

    ``as_of`` is the date the value is in force from, ``available_at`` the instant it became known.
    """

    value: float
    day_count: int = 360
    as_of: datetime
    available_at: datetime
    tenor: str = "overnight"
    source: str = ""


@attrs.frozen
class Snapshot:
    """The market at one instant: quotes by pair and rates by currency, each with its own ``as_of``."""

    at: datetime
    quotes: Mapping[Pair, Quote]
    rates: Mapping[str, Rate] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Instrument:
    """What can be traded at a venue, with the venue's own precision. ``exposure`` says which pair it stands for.

    ``margin_rate`` is required margin / notional; ``financing_long`` and ``financing_short`` are annual decimals from
    the holder's view, > 0 received, or None where the venue does not publish them. ``financing_days`` are the days that
    the venue charges at the end of a trade date by its weekday (0 = Monday to 4 = Friday), None = the pair's roll days.
    """

    name: str
    exposure: Pair
    unit_step: Decimal = Decimal(1)
    minimum_units: Decimal = Decimal(1)
    margin_rate: Decimal = Decimal("0.05")
    financing_long: float | None = None
    financing_short: float | None = None
    financing_days: Mapping[int, int] | None = None


OrderType = Literal["market", "limit"]


@attrs.frozen(kw_only=True, slots=False)
class Order:
    """An instruction to trade ``units`` (signed, in base currency) of ``instrument``.

    ``stop_fraction`` asks the venue to keep a protective stop behind the whole position, that far (as a fraction) from
    its average entry price, from the moment the order fills.
    """

    client_id: str
    instrument: str
    units: Decimal
    type: OrderType = "market"
    limit_price: Decimal | None = None
    is_reducing: bool = False
    stop_fraction: float | None = None
    reason: str = ""


class OrderStatus(StrEnum):
    """Where an order stands. ``UNKNOWN`` means it may exist: it blocks the pair until the venue has answered."""

    FILLED = "filled"
    PARTIAL = "partial"
    WORKING = "working"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True, slots=False)
class OrderResult:
    """What the venue said about an order. ``reason`` is the venue's own word where it refused."""

    client_id: str
    instrument: str
    status: OrderStatus
    filled_units: Decimal = Decimal(0)
    price: Decimal | None = None
    reason: str = ""

    @classmethod
    def unfilled(cls, order: Order, status: OrderStatus, reason: str) -> OrderResult:
        """The outcome of an order of which nothing is filled."""
        return cls(client_id=order.client_id, instrument=order.instrument, status=status, reason=reason)


TransactionKind = Literal["fill", "financing", "commission", "fee", "transfer"]


@attrs.frozen(kw_only=True)
class Transaction:
    """One entry of the broker's own history, by the broker's own id.

    ``amount`` is the cash booked in ``currency`` (signed, > 0 received). A fill carries ``units`` (signed), ``price``,
    the ``mid`` at that instant and ``conversion`` (account currency per unit of the quote currency); financing carries
    the ``trade_date`` it was booked for and the ``days`` it covers.
    """

    id: str
    at: datetime
    kind: TransactionKind
    amount: Decimal
    currency: str
    instrument: str = ""
    units: Decimal = Decimal(0)
    price: Decimal | None = None
    mid: Decimal | None = None
    conversion: Decimal | None = None
    trade_date: date | None = None
    days: int = 0
    client_id: str = ""


@attrs.frozen(kw_only=True)
class Posting:
    """Financing of one position or balance over one roll: unique on (account, instrument, side, trade_date).

    ``amount`` is unrounded, in ``currency``, > 0 received.
    """

    account_id: str
    instrument: str
    side: Literal["long", "short"]
    trade_date: date
    days: int
    units: Decimal
    rate: Decimal
    amount: Decimal
    currency: str

    @property
    def key(self) -> tuple[str, str, str, date]:
        """What makes a posting unique."""
        return (self.account_id, self.instrument, self.side, self.trade_date)


@attrs.frozen(kw_only=True)
class Position:
    """An open position: signed ``units`` of the pair's base currency at a volume-weighted ``average_price``."""

    instrument: str
    units: Decimal
    average_price: Decimal


class Positions(Mapping[str, Position]):
    """Open positions by instrument name, held as arrays; a :class:`Position` is made when one is asked for."""

    def __init__(self, names: Sequence[str], units: FloatArray, average_price: FloatArray) -> None:
        self.names = names
        self.units = units
        self.average_price = average_price

    @classmethod
    def of(cls, positions: Mapping[str, Position]) -> Positions:
        """Columns from records."""
        names = tuple(positions)
        return cls(
            names,
            np.array([float(positions[n].units) for n in names]),
            np.array([float(positions[n].average_price) for n in names]),
        )

    def __getitem__(self, name: str) -> Position:
        for i, known in enumerate(self.names):
            if known == name and self.units[i]:
                return Position(
                    instrument=name,
                    units=to_decimal(self.units[i]).normalize() + 0,
                    average_price=to_decimal(self.average_price[i]),
                )
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (n for n, u in zip(self.names, self.units) if u)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.units))

    def __repr__(self) -> str:
        return f"Positions({ {n: float(u) for n, u in zip(self.names, self.units) if u} })"


@attrs.frozen(kw_only=True, slots=False)
class Account:
    """The account as the broker states it, in account currency unless said.

    ``nav`` = cash + unrealised + accrued financing; ``balances`` are cash by currency; ``current_weights`` are net
    exposures by currency as fractions of NAV, the account currency left out: what is owned of each currency less what
    is owed (a position's base at market, its quote at cost), so that open P&L in a foreign currency counts as exposure
    to it.
    """

    id: str
    at: datetime
    currency: str
    nav: Decimal
    balances: Mapping[str, Decimal]
    positions: Mapping[str, Position]
    current_weights: Mapping[str, float] = attrs.field(factory=dict)
    working_orders: Sequence[Order] = ()
    margin_used: Decimal = Decimal(0)

    @property
    def cash(self) -> Decimal:
        """The balance in account currency."""
        return self.balances.get(self.currency, Decimal(0))

    @property
    def margin_available(self) -> Decimal:
        """NAV not yet bound as margin."""
        return self.nav - self.margin_used


class Action(IntEnum):
    """What a risk rule demands, in increasing severity. The most severe of all rules wins."""

    ALLOW = 0
    RESIZE = 1
    REJECT = 2
    CLOSE = 3
    HALT_OPENING = 4
    FLATTEN_HALT = 5
    KILL = 6


class TradingState(StrEnum):
    """What the engine may do: ACTIVE trades, REDUCING only closes, HALTED is flat and needs a person."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


@attrs.frozen(slots=False)
class Verdict:
    """What one rule says of a proposal.

    ``caps`` are upper bounds on the size of each leg (fraction of NAV, order of the proposal's legs), None = no bound.
    ``headroom`` is the distance to the limit in the rule's own unit, negative when past it. ``latch`` holds until a
    person lifts it; ``until`` ends a halt by itself. ``retry`` says that what was cut is only delayed: the standing
    target is tried again at the next tick. ``facts`` are the inputs, for the journal.
    """

    rule: str
    action: Action
    code: str = "OK"
    caps: FloatArray | None = None
    headroom: float | None = None
    latch: bool = False
    until: datetime | None = None
    facts: Mapping[str, Any] = _NO_FACTS
    retry: bool = False


Stage = Literal["target", "held", "orders"]


class SentOrder(NamedTuple):
    """An order that was sent before: when, by which client id, and how large (|notional| as a fraction of NAV then).

    ``is_new``: it opened a position, rather than adding to one or reducing it.
    """

    at: datetime
    client_id: str
    size: float
    is_new: bool


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Proposal:
    """What a risk rule is asked about. Vectors are in the order of ``legs`` (instruments), signed fractions of NAV.

    ``weights`` is the notional of each position: at stage "target" as a strategy's wish would have it, before rounding
    to whole units; at "held" as it is; at "orders" as it would be after ``orders``. ``held`` is what is held now.
    ``exposure`` (currencies × legs) turns leg weights into net exposure by currency, the account currency left out.
    ``signal`` is each currency's carry, ``currencies`` are their codes. ``adverse`` is each open position's move
    against its average entry on the closing side (fraction, > 0 = losing; NaN where flat), ``is_stale`` marks legs
    whose quote is too old.

    ``closeout`` is the NAV at which the venue closes out, per notional of each leg (margin rate × close-out level).
    ``is_daily``: the feed is fresh once a day, an order goes out with the next day's quote. ``recent`` are the orders
    sent before, oldest first, at stage "orders" only.

    ``sizes`` (|weights|), their maximum ``largest`` and sum ``gross``, ``net`` (net exposure by currency) and
    ``worst`` (the largest adverse move) follow from these.
    """

    stage: Stage
    nav: float
    legs: Sequence[str]
    weights: FloatArray
    held: FloatArray
    exposure: FloatArray
    signal: FloatArray
    adverse: Sequence[float] = ()
    is_stale: NDArray[np.bool_] | None = None
    is_day_end: bool = False
    is_due: bool = False
    orders: Sequence[Order] = ()
    currencies: Sequence[str] = ()
    closeout: Sequence[float] = ()
    is_daily: bool = False
    recent: Sequence[SentOrder] = ()
    sizes: list[float] = attrs.field(init=False)
    largest: float = attrs.field(init=False)
    gross: float = attrs.field(init=False)
    net: list[float] = attrs.field(init=False)
    worst: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        facts = self.__dict__  # the class is frozen, and these follow from its fields
        facts["sizes"] = sizes = list(map(abs, self.weights.tolist()))
        facts["largest"] = max(sizes) if sizes else 0.0
        facts["gross"] = sum(sizes)
        facts["net"] = self.exposure.dot(self.weights).tolist()
        facts["worst"] = max([move for move in self.adverse if move == move], default=-math.inf)

    def opening(self) -> tuple[FloatArray, FloatArray]:
        """|weights| split into what stays of the held position and what is opened anew, leg by leg.

        A reduction opens nothing; a change of sign keeps nothing and opens all of the new side.
        """
        size = np.abs(self.weights)
        kept = np.where(self.weights * self.held > 0, np.minimum(np.abs(self.held), size), 0.0)
        return kept, size - kept

    def reweighted(self, weights: FloatArray) -> Proposal:
        """The same proposal with other weights."""
        return attrs.evolve(self, weights=weights)


@attrs.frozen(kw_only=True, slots=False)
class RiskState:
    """What risk rules remember, journaled and restored before the first order.

    ``day_start`` is NAV at the last 17:00 New York, ``high_water`` the highest end-of-day NAV, both adjusted for flows;
    ``halt_until`` ends a REDUCING state that began at ``halted_at`` by itself; ``stopped`` are the (instrument,
    direction) blocked until the next scheduled rebalance; ``latch`` is the code of the halt a person has to lift.
    ``locked`` are the instruments in which nothing opens until the venue's account and the journal's agree again;
    ``rejects`` counts the orders the venue refused one after the other.
    """

    trading: TradingState = TradingState.ACTIVE
    day_start: float
    high_water: float
    halt_until: datetime | None = None
    halted_at: datetime | None = None
    latch: str = ""
    stopped: frozenset[tuple[str, int]] = frozenset()
    locked: frozenset[str] = frozenset()
    rejects: int = 0

    def at_day_end(self, nav: float, peak: float) -> RiskState:
        """The state after days that ended at ``nav`` and whose highest end was ``peak``."""
        state = object.__new__(RiskState)  # a copy in half the time: there is one for every stretch of a run
        state.__dict__.update(self.__dict__, day_start=nav, high_water=max(peak, self.high_water))
        return state

    def after_flow(self, nav_before: float, flow: float) -> RiskState:
        """The state after a deposit (> 0) or withdrawal: returns and drawdown stay what they were."""
        scale = (nav_before + flow) / nav_before
        return attrs.evolve(self, day_start=self.day_start * scale, high_water=self.high_water * scale)


@attrs.frozen(slots=False, eq=False)
class Decision:
    """The outcome of one review: the weights that may be held, leg by leg, and the trading state.

    ``findings`` are the verdicts that demand something, of both looks; ``verdicts`` what every rule says of the
    original proposal, headroom included: ``rules`` are pure, so they are ``asked`` again only when somebody wants to
    know.
    """

    at: datetime
    weights: FloatArray
    legs: Sequence[str]
    findings: Sequence[Verdict]
    state: TradingState
    rules: Sequence[Callable[..., Verdict]] = attrs.field(default=(), repr=False)
    asked: tuple[Any, ...] = attrs.field(default=(), repr=False)

    @property
    def verdicts(self) -> list[Verdict]:
        """What every rule says of the original proposal."""
        return [rule(*self.asked) for rule in self.rules]


@attrs.frozen(kw_only=True)
class Alert:
    """Something a person may want to know.

    ``key`` names the condition it tells of, empty where it is an event; ``is_over`` says that the condition has ended.
    ``fields`` are facts as data: numbers have their units in their names, money is in the ``currency`` among them.
    """

    at: datetime
    kind: str
    severity: Literal["info", "warning", "critical"]
    message: str
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    key: str = ""
    is_over: bool = False
