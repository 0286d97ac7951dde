"""The exception tree. Every error says what went wrong, with which value, where, and what to do.

::

    FxCarryError
    ├── ConfigError            exit 2   a setting, argument or file is wrong
    ├── PluginError            exit 3   a plugin is missing, broken or registered twice
    ├── DataError              exit 4   a price or rate cannot be used
    │   ├── StaleDataError              it is older than its budget
    │   ├── MissingDataError            it is not there
    │   └── BadQuoteError               it is not a price: NaN, zero, negative, crossed
    ├── BrokerError            exit 5
    │   ├── BrokerUnavailable           nothing was accepted; may be retried
    │   ├── OrderRejected               final
    │   └── OrderOutcomeUnknown         may exist at the venue; never resend
    ├── RiskHalt               exit 6   trading is halted
    ├── LedgerError            exit 7   the books do not balance
    ├── JournalError           exit 9   the journal cannot be read or written
    │   └── JournalLocked               another process has it
    └── NotifierError                   an alert was not delivered; never stops the engine
        └── DeliveryUnknown             it may have been delivered; never sent again to that channel
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FxCarryError(Exception):
    """Root of every error fxcarry raises on purpose.

    ``message`` says what is wrong and with which value, ``hint`` what to do about it, ``fields`` carries the same
    facts as data. ``exit_code`` is what the command line returns.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields: dict[str, Any] = dict(fields or {})

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(FxCarryError):
    """A setting, argument or file is wrong."""

    exit_code = 2


class PluginError(FxCarryError):
    """A plugin is missing, broken or registered twice."""

    exit_code = 3


class DataError(FxCarryError):
    """A price or rate cannot be used."""

    exit_code = 4


class StaleDataError(DataError):
    """A price or rate is older than its budget."""


class MissingDataError(DataError):
    """A price, rate or conversion is not there. It is never taken to be zero."""


class BadQuoteError(DataError):
    """A number that is not a price: NaN, zero, negative or crossed."""


class BrokerError(FxCarryError):
    """The broker could not do what was asked."""

    exit_code = 5


class BrokerUnavailable(BrokerError):
    """Nothing reached the broker or it refused before accepting; the call may be retried."""


class OrderRejected(BrokerError):
    """The broker refused the order. Final."""


class OrderOutcomeUnknown(BrokerError):
    """The order may exist at the venue. It must never be sent again before the venue has answered."""


class RiskHalt(FxCarryError):
    """Trading is halted by a risk rule or an operator."""

    exit_code = 6


class LedgerError(FxCarryError):
    """The books do not balance, so nothing may be reported."""

    exit_code = 7


class JournalError(FxCarryError):
    """The journal cannot be read or written. Nothing was half written, and nothing may be sent."""

    exit_code = 9


class JournalLocked(JournalError):
    """Another process has the account, or took it over."""


class NotifierError(FxCarryError):
    """An alert was certainly not delivered. Never stops the engine.

    ``fields["is_final"]`` True says that trying again is in vain (a refused address, a revoked token);
    ``fields["retry_after"]`` after how many seconds the channel may be asked again, where it said so.
    """


class DeliveryUnknown(NotifierError):
    """The alert may have been delivered and nobody said so. It is not sent to that channel again."""
