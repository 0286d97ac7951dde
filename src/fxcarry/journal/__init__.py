"""What the engine decided and sent, append-only. Reports are made from this, never from the engine's own state.

:class:`MemoryJournal` lasts as long as the process, :class:`SqliteJournal` survives it; both are a :class:`Journal`.
"""

from fxcarry.journal.books import Lot, TaxLots, ledger_from, nav_from, tax_lots
from fxcarry.journal.export import FILES, append_performance, export
from fxcarry.journal.lock import Holder, JournalLock
from fxcarry.journal.memory import MemoryJournal
from fxcarry.journal.records import AlertRecord, Command, CommandKind, Intention, Journal
from fxcarry.journal.sqlite import SqliteJournal

__all__ = [
    "FILES",
    "AlertRecord",
    "Command",
    "CommandKind",
    "Holder",
    "Intention",
    "Journal",
    "JournalLock",
    "Lot",
    "MemoryJournal",
    "SqliteJournal",
    "TaxLots",
    "append_performance",
    "export",
    "ledger_from",
    "nav_from",
    "tax_lots",
]
