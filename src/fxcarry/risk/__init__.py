"""The risk rules, and the review that merges what they say.

Rules are pure and never enlarge anything. Each sees the original proposal; the most severe action wins, caps merge by
minimum, and the merged result is reviewed once more, so the order of rules has no meaning. Reductions always pass.

Limits are inclusive: a number that reaches its limit breaches it. Comparisons run on float64 with a slack of 1e-9 of
the compared value, far below a cent or a pip, so that a limit met exactly is met whatever the last bit says.
"""

from datetime import timedelta

from fxcarry.protocols import RiskRule
from fxcarry.risk.limits import BLOCS, MaxCurrenciesPerSide, MaxCurrencyExposure, MaxExposure, MaxPosition, PegLimit
from fxcarry.risk.losses import DailyLoss, Drawdown, StopLoss
from fxcarry.risk.market import FinancingFlip, PriceSanity, RolloverWindow, SpreadGuard, Staleness, Weekend
from fxcarry.risk.orders import FatFinger, OrderRate
from fxcarry.risk.review import review
from fxcarry.risk.shared import Code, next_day_end
from fxcarry.risk.tails import ExpectedShortfall, MarginDistance, StressLoss, shortfalls

RATE_BUDGET = timedelta(days=7)
"""How long after its ``rates_verified_until`` a table of policy rates still counts as fresh."""


def default_rules() -> tuple[RiskRule, ...]:
    """Position 30 %, 5 % stop, 3 currencies a side, exposure 2×, daily loss 3 %, drawdown 15 %, age 60 minutes."""
    return (
        MaxPosition(),
        StopLoss(),
        MaxCurrenciesPerSide(),
        MaxExposure(),
        DailyLoss(),
        Drawdown(),
        Staleness(),
    )


def professional_rules() -> tuple[RiskRule, ...]:
    """The default set and what a professional adds: blocs, pegs, margin, tails, weekends, quotes and orders."""
    return (
        *default_rules(),
        MaxCurrencyExposure(),
        PegLimit(),
        MarginDistance(),
        ExpectedShortfall(),
        StressLoss(),
        Weekend(),
        PriceSanity(),
        SpreadGuard(),
        RolloverWindow(),
        FinancingFlip(),
        FatFinger(),
        OrderRate(),
    )


__all__ = [
    "BLOCS",
    "RATE_BUDGET",
    "Code",
    "DailyLoss",
    "Drawdown",
    "ExpectedShortfall",
    "FatFinger",
    "FinancingFlip",
    "MarginDistance",
    "MaxCurrenciesPerSide",
    "MaxCurrencyExposure",
    "MaxExposure",
    "MaxPosition",
    "OrderRate",
    "PegLimit",
    "PriceSanity",
    "RolloverWindow",
    "SpreadGuard",
    "Staleness",
    "StopLoss",
    "StressLoss",
    "Weekend",
    "default_rules",
    "next_day_end",
    "professional_rules",
    "review",
    "shortfalls",
]
