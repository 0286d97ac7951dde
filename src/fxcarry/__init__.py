"""fxcarry runs an FX carry strategy the same way in a backtest, on paper and live.

The names below load on first use, so ``import fxcarry`` stays light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "Pair": "model",
    "Quote": "model",
    "Rate": "model",
    "Snapshot": "model",
    "Account": "model",
    "Order": "model",
    "Instrument": "model",
    "MarketHistory": "market",
    "MarketView": "market",
    "MemoryFeed": "feeds",
    "FileFeed": "feeds",
    "Engine": "engine",
    "SimBroker": "simulation",
    "backtest": "backtest",
    "BacktestResult": "backtest",
    "build": "build",
    "FxCarryError": "errors",
}

__all__ = sorted([*_WHERE, "__version__"])

if TYPE_CHECKING:
    from fxcarry.backtest import BacktestResult as BacktestResult
    from fxcarry.backtest import backtest as backtest
    from fxcarry.build import build as build
    from fxcarry.engine import Engine as Engine
    from fxcarry.errors import FxCarryError as FxCarryError
    from fxcarry.feeds import FileFeed as FileFeed
    from fxcarry.feeds import MemoryFeed as MemoryFeed
    from fxcarry.market import MarketHistory as MarketHistory
    from fxcarry.market import MarketView as MarketView
    from fxcarry.model import (
        Account as Account,
    )
    from fxcarry.model import (
        Instrument as Instrument,
    )
    from fxcarry.model import (
        Order as Order,
    )
    from fxcarry.model import (
        Pair as Pair,
    )
    from fxcarry.model import (
        Quote as Quote,
    )
    from fxcarry.model import (
        Rate as Rate,
    )
    from fxcarry.model import (
        Snapshot as Snapshot,
    )
    from fxcarry.simulation import SimBroker as SimBroker


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'fxcarry' has no attribute {name!r}")
    value = getattr(import_module(f"fxcarry.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps ``fxcarry.backtest`` and ``fxcarry.build`` the functions: importing a submodule would set the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in {"backtest", "build"} and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
