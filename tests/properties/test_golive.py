"""fxcarry.golive, whatever the numbers: returns without what was paid in, and room for whole units."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.conventions import session_end
from fxcarry.golive import ROUNDING, daily_returns, minimum_capital
from fxcarry.journal import SqliteJournal
from fxcarry.model import Instrument, Pair, RiskState, Transaction
from fxcarry.orders import whole

DAYS = [date(2026, 3, 2) + timedelta(days=7 * week + day) for week in range(3) for day in range(5)]  # over 8 March
DAY = st.tuples(st.floats(-0.2, 0.2), st.integers(-3000, 50_000), st.floats(0.01, 23.9))


@settings(max_examples=25)
@given(st.lists(DAY, min_size=1, max_size=len(DAYS) - 1))
def test_returns_are_what_was_earned_whatever_is_paid_in_or_out(story: list[tuple[float, int, float]]) -> None:
    """NAV grows by the return, and then somebody pays in or out, at any hour of that session."""
    nav, booked = 100_000.0, []
    with TemporaryDirectory() as folder, SqliteJournal(Path(folder) / "j", account_id="A") as journal:
        with journal.atomic():
            journal.transition(session_end(DAYS[0]), RiskState(day_start=nav, high_water=nav))
            for i, (earned, paid, hours) in enumerate(story):
                end = session_end(DAYS[i + 1])
                nav = nav * (1 + earned) + paid
                booked.append(
                    Transaction(
                        id=str(i),
                        at=end - timedelta(hours=hours),
                        kind="transfer",
                        amount=Decimal(paid),
                        currency="USD",
                    )
                )
                journal.transition(end, RiskState(day_start=nav, high_water=1.0))
        looks = np.array([session_end(day).replace(tzinfo=None) for day in DAYS], "datetime64[us]")
        if nav > 0:
            ended, returns = daily_returns(journal, booked, looks)
            assert ended.tolist() == DAYS[: len(story) + 1]
            assert returns == pytest.approx([earned for earned, _, _ in story], abs=1e-9)


@given(
    st.floats(0.01, 2.0),
    st.sampled_from(["1", "0.01", "100", "1000", "100000"]),
    st.integers(1, 200_000),
    st.floats(0.005, 200.0),
    st.floats(1.0, 3.0),
)
def test_at_the_minimum_capital_and_above_rounding_is_within_its_bound(
    weight: float, step: str, minimum: int, price: float, more: float
) -> None:
    pair = Pair("AUD", "USD")
    instrument = Instrument(name="A", exposure=pair, unit_step=Decimal(step), minimum_units=Decimal(minimum))
    nav = float(minimum_capital(weight, [instrument], "USD", {pair: Decimal(str(price))})[0]) * more
    units = weight * nav / price
    assert units >= minimum * (1 - 1e-9)
    assert units - whole([units], [float(step)])[0] <= ROUNDING * units * (1 + 1e-9)
