"""The configurations tried, and the strategy that switches between them as the windows say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from itertools import product
from typing import Any

import attrs
import numpy as np

from fxcarry.conventions import trade_date
from fxcarry.errors import ConfigError, DataError
from fxcarry.market import MarketView
from fxcarry.model import Account
from fxcarry.protocols import Strategy

_JUST_BEFORE = timedelta(microseconds=1)


def candidates(
    strategy: Strategy | Callable[..., Strategy], grid: Mapping[str, Sequence[Any]] | None
) -> list[tuple[dict[str, Any], Strategy]]:
    """Every combination of the ``grid``, in order: its setting, and the strategy with it.

    ``strategy`` is an attrs object, of which the named fields are changed, or anything that makes a strategy from the
    setting as keywords: a class, a function. Without a grid it is the one configuration. Raises ConfigError for an
    empty or repeated value, a name the strategy does not have, and whatever the strategy refuses.
    """
    if not callable(strategy):
        raise ConfigError(f"strategy is {strategy!r}", hint="pass a strategy, or what makes one")
    if not grid:
        return [({}, strategy)]
    for name, values in grid.items():
        if isinstance(values, str) or not len(values) or any(v in values[:i] for i, v in enumerate(values)):
            raise ConfigError(f"grid[{name!r}] is {values!r}", hint="a list of different values, one or more")
    kind: Any = type(strategy)
    is_object = attrs.has(kind)
    if is_object:
        fields = [a.alias or a.name for a in attrs.fields(kind) if a.init]
        unknown = [name for name in grid if name not in fields]
        if unknown:
            raise ConfigError(
                f"{kind.__name__} has no setting {', '.join(unknown)}",
                hint=f"it has {', '.join(fields) or 'none'}",
            )
    found: list[tuple[dict[str, Any], Strategy]] = []
    for values in product(*grid.values()):
        setting = dict(zip(grid, values))
        try:
            made = attrs.evolve(strategy, **setting) if is_object else strategy(**setting)  # type: ignore[misc, call-arg]
        except TypeError as error:
            raise ConfigError(
                f"no strategy can be made with {setting}: {error}",
                hint="with a grid, pass an attrs object or a callable that takes its names as keywords",
            ) from error
        if not callable(made):
            raise ConfigError(f"{setting} made {made!r}, which cannot be called", hint="return a strategy")
        found.append((setting, made))
    return found


@attrs.frozen(eq=False)
class Scheduled:
    """A strategy that is another one from each of the dates ``starts`` on; before the first it holds nothing.

    A decision belongs to the date its orders fill on, the weekday after its own trade date: what is decided on the last
    weekday of December is the book of January. One account runs through every switch, so the first decision of a
    configuration starts from what the one before left, and trading from one to the other costs what trading costs.

    ``failed`` notes the place of a strategy that raised a DataError.
    """

    starts: tuple[date, ...]
    strategies: tuple[Strategy, ...]
    name: str = "walk-forward"
    failed: list[int] = attrs.field(factory=list, init=False)

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def reads_account(self) -> bool:
        """Whether one of the strategies does."""
        return any(bool(getattr(s, "reads_account", True)) for s in self.strategies)

    def __call__(self, view: MarketView, account: Account) -> Any:
        """What the strategy of the date says."""
        decided = np.datetime64(trade_date(view.as_of - _JUST_BEFORE), "D")
        fills: Any = np.busday_offset(decided, 1, roll="forward").item()
        place = sum(start <= fills for start in self.starts) - 1
        if place < 0:
            return np.zeros(len(view.currencies))
        try:
            return self.strategies[place](view, account)
        except DataError:
            self.failed.append(place)
            raise
