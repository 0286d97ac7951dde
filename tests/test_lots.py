"""fxcarry.lots: first in, first out, by worked numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fxcarry.lots import OpenLots


def lots(*trades: tuple[float, float]) -> OpenLots[float]:
    made: OpenLots[float] = OpenLots()
    for units, price in trades:
        made.trade(units, price)
    return made


def test_opening_realises_nothing() -> None:
    made: OpenLots[float] = OpenLots()
    assert made.trade(100.0, 1.10) == 0
    assert made.trade(50.0, 1.20) == 0
    assert [*made] == [(100.0, 1.10), (50.0, 1.20)]
    assert made.cost == pytest.approx(170)
    assert made.average == pytest.approx(1.1333333, abs=1e-7)


@pytest.mark.parametrize("side", [1, -1])
def test_the_oldest_lot_is_closed_first(side: int) -> None:
    made = lots((100.0 * side, 1.10), (50.0 * side, 1.20))
    assert made.trade(-60.0 * side, 1.15) == pytest.approx(60 * 0.05 * side)
    assert [*made] == [(40.0 * side, 1.10), (50.0 * side, 1.20)]
    assert made.trade(-60.0 * side, 1.15) == pytest.approx((40 * 0.05 - 20 * 0.05) * side)
    assert [*made] == [(30.0 * side, 1.20)]


def test_a_close_of_exactly_one_lot_leaves_the_next() -> None:
    made = lots((100.0, 1.10), (50.0, 1.20))
    made.trade(-100.0, 1.0)
    assert [*made] == [(50.0, 1.20)]


def test_what_is_more_than_all_lots_opens_the_other_side() -> None:
    made = lots((100.0, 1.10), (50.0, 1.20))
    assert made.trade(-250.0, 1.15) == pytest.approx(100 * 0.05 - 50 * 0.05)
    assert [*made] == [(-100.0, 1.15)]
    assert made.average == 1.15


def test_flat_is_flat() -> None:
    made = lots((100.0, 1.10), (-100.0, 1.20))
    assert [*made] == []
    assert made.cost == 0
    with pytest.raises(ZeroDivisionError):
        _ = made.average


def test_decimals_stay_exact() -> None:
    made: OpenLots[Decimal] = OpenLots([(Decimal(3), Decimal("0.1")), (Decimal(3), Decimal("0.3"))])
    assert made.trade(Decimal(-4), Decimal("0.2")) == Decimal("0.2")  # 3 × 0.1 − 1 × 0.1
    assert (made.cost, made.average) == (Decimal("0.6"), Decimal("0.3"))
