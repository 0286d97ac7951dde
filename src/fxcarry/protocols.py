"""The six protocols a part may implement, and the capability flags of a broker. Signatures and contracts only.

No base class is needed: any object with these members will do, and any callable is a strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from fxcarry.market import MarketHistory, MarketView
from fxcarry.model import (
    Account,
    Alert,
    FloatArray,
    Instrument,
    Order,
    OrderResult,
    Pair,
    Position,
    Proposal,
    RiskState,
    Snapshot,
    Transaction,
    Verdict,
)

if TYPE_CHECKING:
    import pandas as pd

Weights: TypeAlias = "Mapping[str, float] | pd.Series | FloatArray"
"""Signed fractions of NAV by currency: absent = 0, an unknown currency or NaN is an error. An array is in universe
order.
"""

Strategy: TypeAlias = Callable[[MarketView, Account], Any]
"""``(view, account) -> Weights``: what to hold, as known at ``view.as_of``.

An attribute ``reads_account = False`` promises that the answer depends on the view alone; a run over stored history
then asks for all of its decisions before the first, which is faster and never different.
"""


class Capability(StrEnum):
    """What a venue can do; conformance suites skip what is not claimed."""

    UNIQUE_CLIENT_IDS = "unique-client-ids"
    NATIVE_STOPS = "native-stops"
    PARTIAL_FILLS = "partial-fills"
    SPOT_FX = "spot-fx"
    FINANCING = "financing"
    HEDGING = "hedging"


@runtime_checkable
class DataFeed(Protocol):
    """Prices and rates, each with the instant it is from.

    Two members are optional. ``health()``: records of the sources behind the feed
    (:class:`~fxcarry.composite.SourceHealth`), of which the engine alerts. ``revised()``: a feed of the same with rates
    as they were revised later, which a backtest's report sets beside what was known.
    """

    @property
    def name(self) -> str:
        """The feed's short name."""
        ...

    @property
    def interval(self) -> timedelta:
        """How often the feed can be fresh; staleness budgets build on it."""
        ...

    def snapshot(self, at: datetime) -> Snapshot:
        """The last quotes and the rates known at ``at``; raises StaleDataError or MissingDataError."""
        ...

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Rows with start <= time < end; rates carry ``available_at``."""
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


@runtime_checkable
class Broker(Protocol):
    """A venue with one account. Reads raise BrokerUnavailable: an empty mapping always means flat.

    One member is optional. ``is_practice: bool``: whether the account deals no real money, known before the connection
    is made. Without it, and unless it is True, it is real money: mode "paper" refuses the broker, mode "live" wants
    three keys.
    """

    @property
    def name(self) -> str:
        """The broker's short name."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the venue can do."""
        ...

    def connect(self) -> None:
        """Open the connection."""
        ...

    def sync(self, snapshot: Snapshot) -> Account:
        """Live: ask the venue. Simulated: advance the market, accrue, trigger."""
        ...

    def get_account_balance(self) -> Decimal:
        """Cash in account currency."""
        ...

    def get_positions(self) -> Mapping[str, Position]:
        """Open positions by instrument name."""
        ...

    def get_orders(self) -> Sequence[OrderResult]:
        """Working orders, and stops: each a WORKING result whose client id begins with ``stop-``, with its price. The
        engine compares these with the positions at every look.
        """
        ...

    def get_instruments(self, pairs: Collection[Pair]) -> Mapping[str, Instrument]:
        """Steps, minimum, margin and financing rates of what stands for each pair."""
        ...

    def place_market_order(self, order: Order) -> OrderResult:
        """Trade now."""
        ...

    def place_limit_order(self, order: Order) -> OrderResult:
        """Trade at ``order.limit_price`` or better."""
        ...

    def set_stop(self, instrument: str, price: Decimal | None) -> OrderResult:
        """Set or remove the protective stop of the whole position."""
        ...

    def cancel_order(self, client_id: str) -> OrderResult:
        """Cancel a working order."""
        ...

    def find_orders(self, client_ids: Collection[str]) -> Mapping[str, OrderResult]:
        """What the venue knows of these orders; never guesses."""
        ...

    def transactions(self, since: str | None) -> Sequence[Transaction]:
        """Fills, financing, fees and transfers after the transaction ``since``, by the venue's own id.

        A fill of the venue's own accord has a client id that begins with ``stop-`` or ``margin-close-out-``: the engine
        then blocks the pair until the next rebalance, or halts. Positions are compared with the sum of all fills.
        """
        ...

    def close_all_positions(self) -> Sequence[OrderResult]:
        """Cancel working orders, close everything, verify flat by reading again."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


@runtime_checkable
class RiskRule(Protocol):
    """A pure rule: it may shrink, close or halt, never enlarge.

    Three members are optional and make a run faster, never different. ``stages``: the stages at which its answer can
    differ (default: all). ``is_quiet(proposal, state) -> bool``: True only if it would allow the proposal.
    ``first_breach(block) -> int | None``: the first tick of a block at which it might bite; a rule of stage "held"
    without it is asked at every tick. A fourth, ``headroom_unit``, is shown behind the headroom of its verdicts; where
    it begins with "%", the headroom is a fraction and shown in percent.
    """

    @property
    def name(self) -> str:
        """The rule's name."""
        ...

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        """What the rule says of the proposal."""
        ...


@runtime_checkable
class Notifier(Protocol):
    """A channel to a person. It may fail; it never stops the engine.

    One may have a method ``check() -> str`` that asks the other side whether it would take an alert, sends none, and
    says what was found; it raises NotifierError or ConfigError. ``fxcarry check`` calls it.
    """

    @property
    def name(self) -> str:
        """The channel's name."""
        ...

    def notify(self, alert: Alert) -> None:
        """Deliver one alert, and return when the other side has taken it.

        Raises NotifierError where it was certainly not delivered, DeliveryUnknown where nobody can tell. It is called
        by a thread of its own, one alert at a time, and gives up by itself after some seconds.
        """
        ...
