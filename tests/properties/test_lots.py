"""What holds of fxcarry.lots for every sequence of trades."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fxcarry.lots import OpenLots

quick = settings(max_examples=60, deadline=None, derandomize=True)
trades = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(90, 110)).map(lambda t: (Decimal(t[0]), Decimal(t[1]))),
    max_size=30,
)


@quick
@given(trades)
def test_what_is_paid_is_cost_and_what_was_realised(given_: list[tuple[Decimal, Decimal]]) -> None:
    lots: OpenLots[Decimal] = OpenLots()
    paid = realised = held = Decimal(0)
    for units, price in given_:
        realised += lots.trade(units, price)
        paid += units * price
        held += units
        assert sum(size for size, _ in lots) == held
        assert len({size > 0 for size, _ in lots}) <= 1
        assert lots.cost == paid + realised  # money in is money out, whatever is matched with what


@quick
@given(trades)
def test_it_is_one_queue_of_single_units(given_: list[tuple[Decimal, Decimal]]) -> None:
    lots: OpenLots[Decimal] = OpenLots()
    queue: list[tuple[int, Decimal]] = []
    for units, price in given_:
        expected = Decimal(0)
        sign = 1 if units > 0 else -1
        for _ in range(abs(int(units))):
            if queue and queue[0][0] != sign:
                side, entry = queue.pop(0)
                expected += (price - entry) * side
            else:
                queue.append((sign, price))
        assert lots.trade(units, price) == expected
        assert [(size / abs(size), p) for size, p in lots for _ in range(abs(int(size)))] == queue
