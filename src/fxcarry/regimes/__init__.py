"""Regimes: exposure scalers around any strategy. A regime says how much of the book to hold, never what to hold.

A regime is a callable ``view -> exposure`` in [0, 1] that reads the view's own past and nothing else. It keeps no
memory that could change an answer: asked again, asked in another order, or asked after a restart, it says the same.
"""

from fxcarry.regimes.events import CrashTable, crash_table
from fxcarry.regimes.models import HiddenMarkov, LogisticRegime, MarkovSwitching
from fxcarry.regimes.scaled import Regime, Scaled
from fxcarry.regimes.volatility import VolatilityRegime, realised_volatility

__all__ = [
    "CrashTable",
    "HiddenMarkov",
    "LogisticRegime",
    "MarkovSwitching",
    "Regime",
    "Scaled",
    "VolatilityRegime",
    "crash_table",
    "realised_volatility",
]
