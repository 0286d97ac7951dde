"""Two strategies that look alike: one knows the average rate of months still to come. The detector tells which."""

import numpy as np

import fxcarry_ecb
from fxcarry.lookahead import check_warmup, find_look_ahead
from fxcarry.strategies import Optimized

G10 = ("AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "NOK", "NZD", "SEK")


def usual_carry_of_all(history):
    """A factory: it may read ``history``, and takes each currency's mean carry from all of it."""
    known = history.times[history.times >= np.datetime64("2000-01-01")]
    usual = np.nanmean(history.rate_matrix(known, G10) - history.rate_matrix(known, ["USD"]), axis=0)

    def above_its_usual_carry(view, account):
        return dict(zip(G10, np.sign(view.values("carry") - usual) / len(G10)))

    return above_its_usual_carry


class AboveItsCarrySoFar:
    """The same idea with the mean of what it was shown, month by month: honest, but it has a memory."""

    def __init__(self):
        self.seen = []

    def __call__(self, view, account):
        self.seen.append(view.values("carry"))
        return dict(zip(view.currencies, np.sign(view.values("carry") - np.mean(self.seen, axis=0)) / len(G10)))


if __name__ == "__main__":
    history = fxcarry_ecb.EcbFeed().history(None, None)
    common = {"history": history, "universe": G10, "start": "2004-01-02", "end": "2009-12-31"}

    print("1. The mean over all the data, past and future:")
    report = find_look_ahead(factory=usual_carry_of_all, **common)
    print(report.to_text())
    print(f"   on {report.first.at:%Y-%m-%d} the future changes {', '.join(report.first.weights)}\n")

    print("2. The mean of what was seen so far: no look-ahead, but asked again it answers differently:")
    print(find_look_ahead(AboveItsCarrySoFar(), **common).to_text(), "\n")

    print("3. A built-in strategy, and how many rows of prices it needs before its weights mean anything:")
    print(find_look_ahead(Optimized(), **common).to_text())
    print(check_warmup(Optimized(), history=history, universe=G10, at="2009-12-31").to_text())
