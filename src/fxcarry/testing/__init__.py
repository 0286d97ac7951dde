"""Conformance suites for those who write plugins, and factories that make markets for their tests.

Subclass a suite in a test module and give its fixture::

    class TestAcme(FeedSuite):
        @pytest.fixture
        def feed(self):
            return AcmeFeed(...)

Cases are numbered (B01, F01, R01, S01, N01, …). A subclass that replaces one has to say so:
``replaces = {"F07": "the venue's history is of another market"}``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from fxcarry.testing.brokers import BrokerSuite
    from fxcarry.testing.factories import account, market_history, view_at
    from fxcarry.testing.feeds import FeedSuite
    from fxcarry.testing.notifiers import NotifierSuite
    from fxcarry.testing.rules import RuleSuite
    from fxcarry.testing.strategies import StrategySuite
    from fxcarry.testing.venue import FakeBroker, FakeVenue, serve
    from fxcarry.testing.wire import Reply, Request, WireServer

_WHERE = {
    "BrokerSuite": "brokers",
    "FakeBroker": "venue",
    "FakeVenue": "venue",
    "FeedSuite": "feeds",
    "NotifierSuite": "notifiers",
    "Reply": "wire",
    "Request": "wire",
    "RuleSuite": "rules",
    "StrategySuite": "strategies",
    "WireServer": "wire",
    "account": "factories",
    "market_history": "factories",
    "serve": "venue",
    "view_at": "factories",
}

__all__ = [
    "BrokerSuite",
    "FakeBroker",
    "FakeVenue",
    "FeedSuite",
    "NotifierSuite",
    "Reply",
    "Request",
    "RuleSuite",
    "StrategySuite",
    "Suite",
    "WireServer",
    "account",
    "market_history",
    "serve",
    "signature_problems",
    "view_at",
]

_CASE = re.compile(r"test_([A-Z][0-9]{2})_")


class Suite:
    """Root of the suites: refuses, with a TypeError, a subclass that silently replaces or removes a case."""

    replaces: ClassVar[Mapping[str, str]] = {}
    """Numbers of the cases a subclass replaces on purpose, each with the reason."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inherited = {
            name: getattr(base, name)
            for base in cls.__bases__
            if issubclass(base, Suite)
            for name in dir(base)
            if _CASE.match(name)
        }
        numbers = {name[5:8] for name in inherited}
        for number, reason in cls.replaces.items():
            if number not in numbers or not reason.strip():
                raise TypeError(f"{cls.__name__}.replaces[{number!r}]: name a case of the suite and give a reason")
        for name, case in inherited.items():
            if getattr(cls, name) is not case and name[5:8] not in cls.replaces:
                raise TypeError(
                    f"{cls.__name__} replaces {name}; if that is meant, say why: replaces = {{{name[5:8]!r}: '…'}}"
                )


def signature_problems(protocol: type, part: object) -> list[str]:
    """How the methods of ``part`` differ from those of ``protocol``, one text each; empty where they fit.

    A method fits where it takes the protocol's arguments under the same names in the same order, demands no others,
    and is no coroutine. Attributes have to be there. (``isinstance`` with a runtime-checkable protocol sees
    names only.)
    """
    problems = []
    for name, wanted in vars(protocol).items():
        is_property = isinstance(wanted, property)
        if not is_property and (not inspect.isfunction(wanted) or (name.startswith("_") and name != "__call__")):
            continue
        if not hasattr(part, name):
            problems.append(f"{name} is missing")
            continue
        if not is_property:
            problems.extend(f"{name}: {text}" for text in _call_problems(wanted, getattr(part, name)))
    return problems


def _call_problems(wanted: Any, method: Any) -> list[str]:
    if not callable(method):
        return [f"expected a method, got {method!r}"]
    if inspect.iscoroutinefunction(method):
        return ["it is a coroutine; fxcarry is synchronous"]
    names = list(inspect.signature(wanted).parameters)[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    has = inspect.signature(method).parameters
    found = [p.name for p in has.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if found[: len(names)] != names or any(p.kind is positional[0] for p in has.values()):
        return [f"expected the arguments ({', '.join(names)}), got {inspect.signature(method)}"]
    demanded = [
        p.name for p in has.values() if p.name not in names and p.default is p.empty and p.kind not in _VARIADIC
    ]
    return [f"it demands {name}, which nobody gives" for name in demanded]


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'fxcarry.testing' has no attribute {name!r}")
    return getattr(import_module(f"fxcarry.testing.{_WHERE[name]}"), name)
