"""Walk-forward: parameters chosen on the past only, and what they earned in the year after, again and again.

Every test year is traded with a configuration chosen on the years before it, with a gap between. What is reported is
the test years alone, as one account that trades through all of them and pays for each change of configuration.
"""

from fxcarry.walkforward.compare import at_equal_volatility, compare
from fxcarry.walkforward.page import write_html
from fxcarry.walkforward.result import Stitched, WalkForwardResult, WindowResult
from fxcarry.walkforward.run import net_sharpe, walk_forward
from fxcarry.walkforward.schedule import Scheduled, candidates
from fxcarry.walkforward.text import render
from fxcarry.walkforward.windows import Window, windows

__all__ = [
    "Scheduled",
    "Stitched",
    "WalkForwardResult",
    "Window",
    "WindowResult",
    "at_equal_volatility",
    "candidates",
    "compare",
    "net_sharpe",
    "render",
    "walk_forward",
    "windows",
    "write_html",
]
