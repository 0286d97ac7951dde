"""The suites of rules and notifiers: a right one passes every case, a wrong one fails exactly that of its mistake."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import numpy as np
import pytest

from fxcarry.errors import DataError, NotifierError
from fxcarry.market import MarketView
from fxcarry.model import Account, Action, Alert, Proposal, RiskState, Verdict
from fxcarry.risk import DailyLoss, Drawdown, MaxExposure, MaxPosition, StopLoss
from fxcarry.tape import Block
from fxcarry.testing import NotifierSuite, RuleSuite

# --- a right rule without optional members, and its wrong cousins


class RightRule:
    """Halves what is above 30 % at the target; nothing optional."""

    name = "half"

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        if proposal.stage == "held" or proposal.largest <= 0.3:
            return Verdict(self.name, Action.ALLOW)
        caps = np.where(np.array(proposal.sizes) > 0.3, 0.3, np.inf)
        return Verdict(self.name, Action.RESIZE, "TOO_LARGE", caps, 0.3 - proposal.largest)


class TestRightRule(RuleSuite):
    @pytest.fixture
    def rule(self) -> RightRule:
        return RightRule()


def altered(**changes: Any) -> Callable[[], Any]:
    """A rule whose demands are changed in these fields; a function is given the question."""

    class Altered(RightRule):
        def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
            verdict = super().__call__(proposal, view, account, state)
            if verdict.action is Action.ALLOW:
                return verdict
            given = {k: v(proposal, account) if inspect.isfunction(v) else v for k, v in changes.items()}
            return attrs.evolve(verdict, **given)

    return Altered


class Nameless(RightRule):
    name = ""


class Stageless(RightRule):
    stages = ()


class UnknownStage(RightRule):
    stages = ("target", "later")


class WrongArguments(RightRule):
    def __call__(self, proposal: Proposal, account: Account, view: MarketView, state: RiskState) -> Verdict:  # type: ignore[override]
        return super().__call__(proposal, view, account, state)


class SaysNothing(RightRule):
    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Any:
        return None


class AllowsWithCaps(RightRule):
    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        return Verdict(self.name, Action.ALLOW, caps=np.zeros(len(proposal.legs)))


class Counts(RightRule):
    """Bites at every third call."""

    calls = 0

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        self.calls += 1
        if self.calls % 7:
            return Verdict(self.name, Action.ALLOW)
        return super().__call__(proposal, view, account, state)


class Edits(RightRule):
    """Cuts the proposal itself."""

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        verdict = super().__call__(proposal, view, account, state)
        proposal.weights[:] = np.clip(proposal.weights, -0.3, 0.3)
        return verdict


class Enlarges(RightRule):
    """A rule that reaches into the proposal to get its way past the review."""

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        verdict = super().__call__(proposal, view, account, state)
        if verdict.action is not Action.ALLOW:
            proposal.__dict__["sizes"] = [2 * size for size in proposal.sizes]
            return attrs.evolve(verdict, caps=np.full(len(proposal.legs), np.inf))
        return verdict


class NeverContent(RightRule):
    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        return Verdict(self.name, Action.HALT_OPENING, "MONDAY")


class NeedsALeg(RightRule):
    """Fails on a book without legs."""

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        assert proposal.legs, "no leg"
        return super().__call__(proposal, view, account, state)


class OpenOnNan(RightRule):
    """The comparison the wrong way round: NaN is no loss."""

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        lost = 1 - proposal.nav / state.day_start
        return Verdict(self.name, Action.HALT_OPENING, "LOSS") if lost >= 0.1 else Verdict(self.name, Action.ALLOW)


class RaisesOnNan(OpenOnNan):
    """An error stops the engine, which is closed enough."""

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        if math.isnan(proposal.nav):
            raise DataError("NAV is not known")
        return super().__call__(proposal, view, account, state)


class SaysLessThanItDoes(RightRule):
    """Bites at orders and at what is held too, against its promise."""

    stages: Any = ("target",)

    def __call__(self, proposal: Proposal, view: MarketView, account: Account, state: RiskState) -> Verdict:
        if proposal.gross <= 0.1:
            return Verdict(self.name, Action.ALLOW)
        return Verdict(self.name, Action.RESIZE, "SMALLER", np.array(proposal.sizes) / 2, retry=True)


class SaysLessOfOrders(SaysLessThanItDoes):
    stages: Any = ("target", "held")


class QuietTooSoon(MaxPosition):
    def is_quiet(self, proposal: Proposal, state: RiskState) -> bool:
        return proposal.largest < 0.5


class BreachesLate(MaxPosition):
    def first_breach(self, block: Block) -> int | None:
        found = super().first_breach(block)
        return None if found is None else min(found + 1, len(block) - 1)


class BreachesNowhere(StopLoss):
    def first_breach(self, block: Block) -> int | None:
        return None


class BreachesOutside(Drawdown):
    def first_breach(self, block: Block) -> int | None:
        return len(block)


def _in_an_hour(proposal: Proposal, account: Account) -> datetime:
    return account.at + timedelta(hours=1)


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        (Nameless, "R01"), (Stageless, "R01"), (UnknownStage, "R01"), (WrongArguments, "R02"), (SaysNothing, "R03"),
        (AllowsWithCaps, "R03"), (altered(rule="other"), "R03"), (altered(code="too large"), "R03"),
        (altered(code="OK"), "R03"), (altered(action=3), "R03"), (altered(facts=[1]), "R03"), (Counts, "R04"),
        (Edits, "R04"), (altered(caps=lambda p, a: np.full(6, np.nan)), "R05"),
        (altered(caps=lambda p, a: np.full(6, -0.1)), "R05"), (altered(caps=lambda p, a: np.ones(5)), "R05"),
        (altered(caps=lambda p, a: [0.3] * 6), "R05"), (Enlarges, "R06"), (NeverContent, "R07"), (NeedsALeg, "R07"),
        (OpenOnNan, "R08"), (altered(headroom=0.1), "R09"), (altered(headroom=math.nan), "R09"),
        (altered(until=datetime(2019, 1, 1, tzinfo=UTC)), "R10"), (altered(until=datetime(2031, 1, 1)), "R10"),
        (altered(until=_in_an_hour, latch=True), "R10"), (SaysLessThanItDoes, "R11"), (SaysLessOfOrders, "R11"),
        (QuietTooSoon, "R12"), (BreachesLate, "R13"), (BreachesNowhere, "R13"), (BreachesOutside, "R13"),
    ],
)  # fmt: skip
def test_a_wrong_rule_fails_its_case(rule: Callable[[], Any], number: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        _run(RuleSuite(), number, rule=rule())


def _run(suite: object, number: str, **fixtures: object) -> None:
    [case] = [getattr(suite, name) for name in dir(suite) if name.startswith(f"test_{number}_")]
    case(**{name: fixtures[name] for name in inspect.signature(case).parameters})


@pytest.mark.parametrize("rule", [RaisesOnNan(), DailyLoss(), Drawdown(0.3)])
def test_a_rule_that_raises_or_bites_on_an_unknown_nav_fails_closed(rule: Any) -> None:
    _run(RuleSuite(), "R08", rule=rule)


@pytest.mark.parametrize("rule", [altered(until=_in_an_hour)(), altered(until=None)()])
def test_a_halt_may_end_by_itself(rule: Any) -> None:
    _run(RuleSuite(), "R10", rule=rule)


@pytest.mark.parametrize("number", ["R11", "R12", "R13"])
def test_what_a_rule_does_not_promise_is_skipped(number: str) -> None:
    with pytest.raises(pytest.skip.Exception):
        _run(RuleSuite(), number, rule=RightRule())


def test_the_books_of_the_suite_make_rules_bite() -> None:
    """Else the cases would check nothing: every action is met, at a limit, and in the blocks."""
    from fxcarry.testing.rules import _blocks, _questions

    for rule in (MaxPosition(), MaxExposure(), StopLoss(), DailyLoss(), Drawdown()):
        actions = [question.put_to(rule).action for question in _questions()]
        assert 5 < sum(a is not Action.ALLOW for a in actions) < len(actions) - 5, rule.name
        found = [rule.first_breach(block) for block in _blocks()]
        assert any(found), f"{rule.name} bites at no tick but the first: {found}"
    assert {q.proposal.stage for q in _questions()} == {"target", "held", "orders"}
    assert any(len(set(q.proposal.recent)) > 10 for q in _questions())


# --- a right notifier and its wrong cousins


class RightNotifier:
    """Sends to a list, which stands for what arrived elsewhere."""

    name = "list"

    def __init__(self, place: list[str]) -> None:
        self.send = place.append  # the place itself is not the notifier's

    def notify(self, alert: Alert) -> None:
        over = "over: " if alert.is_over else ""
        self.send(f"{over}{alert.severity} {alert.kind}: {alert.message}")

    def check(self) -> str:
        return "the list is there"


class TestRightNotifier(NotifierSuite):
    @pytest.fixture
    def place(self) -> list[str]:
        return []

    @pytest.fixture
    def notifier(self, place: list[str]) -> RightNotifier:
        return RightNotifier(place)

    @pytest.fixture
    def delivered(self, place: list[str]) -> Callable[[], list[str]]:
        return lambda: place


class TestUnseenNotifier(NotifierSuite):
    """Without ``delivered`` the rest is still checked; and a channel may refuse what it cannot say."""

    @pytest.fixture
    def notifier(self) -> Any:
        class Picky(RightNotifier):
            def notify(self, alert: Alert) -> None:
                if not alert.message.isprintable():
                    raise NotifierError("the message cannot be sent")
                super().notify(alert)

        return Picky([])


class NamelessNotifier(RightNotifier):
    name = " "


class WrongNotify(RightNotifier):
    def notify(self, message: Alert) -> None:
        super().notify(message)


class HidesSeverity(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send(f"{alert.kind}: {alert.message}")


class HidesKind(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send(f"{alert.severity}: {alert.message}")


class Silent(RightNotifier):
    def notify(self, alert: Alert) -> None:
        pass


class SaysItOnce(RightNotifier):
    last = ""

    def notify(self, alert: Alert) -> None:
        if alert.message != self.last:
            super().notify(alert)
        self.last = alert.message


class Ascii(RightNotifier):
    def notify(self, alert: Alert) -> None:
        alert.message.encode("ascii")
        super().notify(alert)


class Template(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send((f"{alert.severity} {alert.kind} " + alert.message).format(message=alert.message))


class OneLineOnly(RightNotifier):
    def notify(self, alert: Alert) -> None:
        if "\n" in alert.message:
            raise ValueError("a header has one line")


class NeedsText(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send(alert.message[0])


class CutsTheBeginning(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send(alert.message[-1000:])


class LosesBraces(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send(alert.message.replace("{", "").replace("}", ""))


class Marks(RightNotifier):
    def notify(self, alert: Alert) -> None:
        alert.fields["delivered"] = True  # type: ignore[index]


class NeverEnds(RightNotifier):
    def notify(self, alert: Alert) -> None:
        self.send(f"{alert.severity} {alert.kind}: {alert.message}")


class ChecksBySending(RightNotifier):
    def check(self) -> str:
        self.send("hello")
        return "sent"


class ChecksSilently(RightNotifier):
    def check(self) -> str:
        return " "


class ChecksInLines(RightNotifier):
    def check(self) -> str:
        return "one\ntwo"


class ChecksAsBool(RightNotifier):
    def check(self) -> Any:
        return True


class Remembers(RightNotifier):
    def __init__(self, place: list[str]) -> None:
        super().__init__(place)
        self._told: dict[str, list[Alert]] = {"told": []}

    def notify(self, alert: Alert) -> None:
        self._told["told"].append(alert)


@attrs.define
class Tells:
    token: str = "xoxb-1"
    name: str = "tells"

    def notify(self, alert: Alert) -> None:
        """Deliver nothing."""


class Masked(RightNotifier):
    def __repr__(self) -> str:
        return "Masked(token='***', password=\"\")"


@pytest.mark.parametrize(
    ("notifier", "number"),
    [
        (NamelessNotifier, "N01"), (WrongNotify, "N02"), (HidesSeverity, "N03"), (HidesKind, "N03"), (Silent, "N03"),
        (Silent, "N04"), (SaysItOnce, "N04"), (CutsTheBeginning, "N06"), (LosesBraces, "N07"), (Marks, "N08"),
        (Remembers, "N09"), (SaysItOnce, "N09"), (lambda place: Tells(), "N10"),
        (ChecksBySending, "N11"), (ChecksSilently, "N11"), (ChecksInLines, "N11"), (ChecksAsBool, "N11"),
        (NeverEnds, "N12"),
    ],
)  # fmt: skip
def test_a_wrong_notifier_fails_its_case(notifier: Callable[[list[str]], Any], number: str) -> None:
    place: list[str] = []
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        _run(NotifierSuite(), number, notifier=notifier(place), arrived=lambda: place, delivered=lambda: place)


@pytest.mark.parametrize(
    ("notifier", "text"),
    [(Ascii, "€"), (Template, "{not}"), (OneLineOnly, "a\nb"), (NeedsText, "")],
)
def test_a_notifier_that_fails_on_some_text_fails_its_case(notifier: type[RightNotifier], text: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="expected a delivery or a NotifierError"):
        _run(NotifierSuite(), "N05", notifier=notifier([]), text=text)


def test_a_masked_secret_is_none() -> None:
    _run(NotifierSuite(), "N10", notifier=Masked([]))
