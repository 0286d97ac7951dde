"""OANDA v20 for fxcarry."""
