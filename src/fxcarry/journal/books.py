"""The books, from the transactions of a journal alone: double entry, net asset value, tax lots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import attrs

from fxcarry.errors import LedgerError, MissingDataError
from fxcarry.journal.records import Journal
from fxcarry.ledger import Ledger
from fxcarry.lots import Matching
from fxcarry.model import Pair, Transaction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ledger_from(
    transactions: Iterable[Transaction],
    account_currency: str,
    *,
    opening: Decimal = Decimal(0),
    lots: Matching = "average",
) -> Ledger:
    """Every transaction posted; ``opening`` is cash that was there before the first and is in none of them, ``lots``
    how the venue matches a close.
    """
    books = Ledger(account_currency, lots)
    books.post(Transaction(id="opening", at=_EPOCH, kind="transfer", amount=opening, currency=account_currency))
    for transaction in transactions:
        books.post(transaction)
    return books


def nav_from(
    journal: Journal,
    account_currency: str,
    *,
    mids: Mapping[Pair, Decimal] | None = None,
    opening: Decimal = Decimal(0),
    lots: Matching = "average",
) -> Decimal:
    """Cash plus open P&L in account currency, from the journal's transactions alone; not rounded.

    Open P&L is the units held times the mid, less their cost in quote currency. ``mids`` are by default those of the
    latest quotes in the journal; a cross that is not among them is worth what its two currencies are in account
    currency (:func:`conversion`). MissingDataError where that is not among them either.
    """
    if mids is None:
        mids = {pair: quote.mid for pair, quote in journal.quotes().items()}
    books = ledger_from(journal.transactions(), account_currency, opening=opening, lots=lots)
    total = Decimal(0)
    for (account, currency), amount in books.balances.items():
        kind, _, name = account.partition(":")
        if kind == "Cash" and amount:
            total += amount * conversion(currency, account_currency, mids)
        elif kind == "Position" and amount:
            pair = Pair.parse(name)
            worth = _mid(pair, mids) if currency == pair.base else None
            held_in = currency if worth is None else pair.quote
            total += amount * (worth or 1) * conversion(held_in, account_currency, mids)
    return total


def conversion(currency: str, account_currency: str, mids: Mapping[Pair, Decimal]) -> Decimal:
    """Account currency per unit of ``currency``, as the two are quoted against each other or against a common third;
    MissingDataError where they are neither.
    """
    if currency == account_currency:
        return Decimal(1)
    direct = _mid(Pair(currency, account_currency), mids)
    if direct is not None:
        return direct
    for via in sorted({c for pair in mids for c in pair}):
        one, other = _mid(Pair(currency, via), mids), _mid(Pair(account_currency, via), mids)
        if one is not None and other is not None:
            return one / other
    raise MissingDataError(
        f"no price of {Pair.market(currency, account_currency)}",
        hint="value the book at an instant with a quote of every pair",
    )


def _mid(pair: Pair, mids: Mapping[Pair, Decimal]) -> Decimal | None:
    if pair in mids:
        return mids[pair]
    return 1 / mids[pair.inverse] if pair.inverse in mids else None


@attrs.define(kw_only=True)
class Lot:
    """Units bought (> 0) or sold together, and what came of them, in account currency.

    ``realised`` is their P&L in price at the conversion of the closing fill, ``financing`` what they were paid (> 0) or
    charged while held, ``commission`` their share of it (<= 0). A lot still open has no ``closed_at``. Amounts are not
    rounded.
    """

    instrument: str
    units: Decimal
    opened_at: datetime
    open_id: str
    open_price: Decimal
    closed_at: datetime | None = None
    close_id: str = ""
    close_price: Decimal | None = None
    realised: Decimal = Decimal(0)
    financing: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)

    def cut(self, units: Decimal) -> Lot:
        """Take that many units out of the lot, with their share of all it was paid and charged."""
        share = units / self.units
        part = attrs.evolve(self, units=units, financing=self.financing * share, commission=self.commission * share)
        self.units -= units
        self.financing -= part.financing
        self.commission -= part.commission
        return part


@attrs.frozen
class TaxLots:
    """``lots`` in the order they were closed, open ones last; ``unallocated`` are the financing and commissions that
    belong to no lot (interest on a balance, say).
    """

    lots: list[Lot]
    unallocated: list[Transaction]


def tax_lots(transactions: Iterable[Transaction]) -> TaxLots:
    """First in, first out. Financing is shared by the open lots of its instrument by units, a commission by the parts
    of its fill.

    What was opened first is closed first, whatever the broker's own average price says, so a lot's realised P&L is not
    the broker's; over a round trip in a pair quoted in account currency their sums agree to the rounding.
    """
    held: dict[str, deque[Lot]] = {}
    done: list[Lot] = []
    unallocated: list[Transaction] = []
    parts: dict[tuple[str, str], list[Lot]] = {}  # what the last fill of an order opened and closed
    for t in transactions:
        lots = held.setdefault(t.instrument, deque())
        if t.kind == "fill":
            parts[t.client_id, t.instrument] = _trade(t, lots, done)
        elif t.kind == "financing":
            if not _share(t, list(lots), "financing"):
                unallocated.append(t)
        elif t.kind == "commission" and not _share(t, parts.get((t.client_id, t.instrument), []), "commission"):
            unallocated.append(t)
    return TaxLots([*done, *(lot for lots in held.values() for lot in lots)], unallocated)


def _trade(fill: Transaction, lots: deque[Lot], done: list[Lot]) -> list[Lot]:
    if fill.price is None or fill.conversion is None:
        raise LedgerError(f"fill {fill.id} has no price or conversion")
    left, touched = fill.units, []
    while left and lots and lots[0].units * left < 0:
        first = lots[0]
        part = lots.popleft() if abs(first.units) <= abs(left) else first.cut(-left)
        left += part.units
        part.closed_at, part.close_id, part.close_price = fill.at, fill.id, fill.price
        part.realised = (fill.price - part.open_price) * part.units * fill.conversion
        done.append(part)
        touched.append(part)
    if left:
        opened = Lot(
            instrument=fill.instrument,
            units=left,
            opened_at=fill.at,
            open_id=fill.id,
            open_price=fill.price,
        )
        lots.append(opened)
        touched.append(opened)
    return touched


def _share(transaction: Transaction, lots: list[Lot], name: str) -> bool:
    """Share an amount by units; the last takes what is left, so that nothing is lost."""
    if not lots:
        return False
    total, left = sum(abs(lot.units) for lot in lots), transaction.amount
    for lot in lots:
        part = left if lot is lots[-1] else transaction.amount * abs(lot.units) / total
        setattr(lot, name, getattr(lot, name) + part)
        left -= part
    return True
