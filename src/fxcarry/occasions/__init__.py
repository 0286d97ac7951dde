"""What a person is told besides what goes wrong: trades, closed positions, milestones, tonight's roll, digests.

All of it is made from the journal and the look in hand, so that a restart forgets nothing and tells nothing twice.
Amounts are in account currency, > 0 received: a cost that was paid is below zero. A period's change of NAV is split as
:func:`fxcarry.ledger.attribute` splits a backtest's, and its parts add up to the change to the cent.

Performance is that of a unit of NAV: it starts at 1, and a deposit or withdrawal changes the number of units, not
their value (the time-weighted return of the GIPS standards, valued at each flow).
"""

from fxcarry.occasions.book import Day, Split, last_finished
from fxcarry.occasions.page import report_html
from fxcarry.occasions.teller import Look, Night, Teller

__all__ = ["Day", "Look", "Night", "Split", "Teller", "last_finished", "report_html"]
