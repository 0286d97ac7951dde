"""What a check found, and the sheet that a check-up is written on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from fxcarry.errors import FxCarryError

Status = Literal["pass", "fail", "warn", "skip"]
COMPONENTS = ("machine", "environment", "plugins", "configuration", "feed", "broker", "notifier", "journal")
"""What is looked at, in this order."""


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was looked at: what was found (``detail``), and what to do (``advice``, "" where nothing is).

    ``component`` is one of :data:`COMPONENTS`, with the part's name where it has one: ``broker oanda``.
    """

    component: str
    name: str
    status: Status
    detail: str
    advice: str = ""


@attrs.frozen(kw_only=True)
class CheckUp:
    """Everything that was looked at, at one instant."""

    at: datetime
    checks: tuple[Check, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing failed; a warning is no failure."""
        return not self.counts["fail"]

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many checks there are of each status."""
        found = Counter(one.status for one in self.checks)
        return {status: found[status] for status in ("pass", "warn", "fail", "skip")}

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "at": self.at.isoformat(),
            "ok": self.is_good,
            "counts": dict(self.counts),
            "checks": [attrs.asdict(one) for one in self.checks],
        }


class Sheet:
    """Collects checks. What goes wrong inside :meth:`asked` is a check that failed, never the end of the others."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def note(self, component: str, name: str, status: Status, detail: str, advice: str = "") -> None:
        """Write one check down."""
        self.checks.append(Check(component=component, name=name, status=status, detail=detail, advice=advice))

    def about(self, component: str) -> Callable[..., None]:
        """:meth:`note` of one component."""

        def note(name: str, status: Status, detail: str, advice: str = "") -> None:
            self.note(component, name, status, detail, advice)

        return note

    def asked(self, component: str, name: str, advice: str = "") -> Asked:
        """What is raised inside is the failure of this check; ``advice`` is added to the error's own hint."""
        return Asked(self, component, name, advice)


@attrs.frozen
class Asked:
    """The block in which one check asks."""

    sheet: Sheet
    component: str
    name: str
    advice: str

    def __enter__(self) -> None:
        """Ask."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Write down what was raised, and go on; what ends the process goes through."""
        if isinstance(error, FxCarryError):
            advice = "\n".join(part for part in (error.hint, self.advice, _rights(error.message)) if part)
            self.sheet.note(self.component, self.name, "fail", error.message, advice)
        elif isinstance(error, Exception | SystemExit):
            bug = f"this is a bug of {self.component}, or it lacks something that it needs; report it with these words"
            self.sheet.note(self.component, self.name, "fail", f"{type(error).__name__}: {error}", self.advice or bug)
        elif error is not None:
            return False
        return True


def _rights(message: str) -> str:
    """What a status of HTTP says of the caller's rights."""
    status = re.search(r"(?:\(|HTTP |status )(401|403)\b", message)
    if status is None:
        return ""
    if status[1] == "401":
        return "401: who asks is not known there: the key is mistyped, expired, revoked or of another environment"
    return "403: the key is known, but its rights do not cover this: ask for the account or data at the provider"
