"""Your own prices and rates from pandas frames. Here they are made up, so the interest can be checked by hand."""

from datetime import date

import pandas as pd

import fxcarry
from fxcarry.conventions import value_date

# A market in which no price moves: whatever is earned is interest.
days = pd.bdate_range("2024-01-01", "2024-02-28", name="date")
spot = pd.DataFrame({"AUDUSD": 0.66, "USDJPY": 150.0}, index=days)
rates = pd.DataFrame({"AUD": [0.0435], "JPY": [0.0010], "USD": [0.0525]}, index=pd.to_datetime(["2023-12-29"]))
feed = fxcarry.MemoryFeed.from_frames(spot, rates)


def short_yen(view, account):
    """Owe yen worth half of the account, held in dollars."""
    return {"JPY": -0.5}


result = fxcarry.backtest(short_yen, feed=feed, universe=["AUD", "JPY"], costs=None, markup=0.0, rules=[])

# Decided on the last weekday of January, filled on the next day, held to the end: one fill.
fill = result.trades.iloc[0]
print(f"{fill['at']:%Y-%m-%d}: {fill['units']:+,.0f} {fill['instrument']} at {fill['price']}")

first, last = value_date("USDJPY", date(2024, 2, 1)), value_date("USDJPY", date(2024, 2, 29))
by_hand = fill["units"] * (0.0525 - 0.0010) * (last - first).days / 360

print(f"interest booked {result.attribution['carry'].sum():10,.2f} USD")
print(f"by hand         {by_hand:10,.2f} USD, for the {(last - first).days} days from {first} to {last}")
print(f"spot and cost   {result.attribution[['spot', 'cost']].to_numpy().sum():10,.2f} USD")
print(f"NAV             {result.nav.iloc[-1]:10,.2f} USD")
