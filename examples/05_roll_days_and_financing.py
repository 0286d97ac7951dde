"""For how many days a position is financed on which evening, and what three kinds of broker would book."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from fxcarry import Account, Pair, Quote, Rate, Snapshot
from fxcarry.conventions import roll_days, value_date
from fxcarry.financing import BenchmarkFinancing, CurrencyBalanceFinancing, PairRateFinancing
from fxcarry.model import Position

print("trade date        AUDUSD value date, days     USDCAD value date, days")
days = [date(2025, 1, 13) + timedelta(n) for n in range(12)]
for day in (d for d in days if d.weekday() < 5):
    australian, canadian = (f"{value_date(p, day):%a %d %b}, {roll_days(p, day)}" for p in ("AUDUSD", "USDCAD"))
    print(f"{day:%a %Y-%m-%d}    {australian:28}{canadian}")
week = [sum(roll_days(p, d) for d in days[:5]) for p in ("AUDUSD", "USDCAD")]
print(f"Monday to Friday of the first week: {week[0]} and {week[1]} days (Monday the 20th was a holiday in the US)\n")

# 1,000,000 AUD long, on the Wednesday that counts four days.
now, trade_day = datetime(2025, 1, 15, 22, 0, tzinfo=UTC), date(2025, 1, 15)
price, size = Decimal("0.6200"), Decimal(1_000_000)


def rate(value: float, day_count: int) -> Rate:
    """An annual rate, known long before."""
    return Rate(value=value, day_count=day_count, as_of=now - timedelta(30), available_at=now - timedelta(30))


snapshot = Snapshot(
    now, {Pair.parse("AUDUSD"): Quote(price, price, now)}, {"AUD": rate(0.0435, 365), "USD": rate(0.0435, 360)}
)
account = Account(
    id="demo",
    at=now,
    currency="USD",
    nav=Decimal(500_000),
    balances={"AUD": size, "USD": Decimal(500_000) - size * price},
    positions={"AUDUSD": Position(instrument="AUDUSD", units=size, average_price=price)},
)
models = {
    "A  pair rates": PairRateFinancing(long_rate="-0.012", short_rate="-0.009"),
    "B  currency balances": CurrencyBalanceFinancing(),
    "C  benchmark ± 1 %": BenchmarkFinancing(0.01),
}
for name, model in models.items():
    for p in model.postings(account, snapshot, trade_day):
        print(f"{name:22} {p.instrument:7} {p.side:5} {p.days} days {p.rate:+.4f} a year {p.amount:+9.2f} {p.currency}")
