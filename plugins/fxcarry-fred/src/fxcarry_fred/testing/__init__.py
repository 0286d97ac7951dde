"""A fake FRED over a real socket, to test against without a key and without a network.

::

    fake = FakeFred(today=date(2025, 6, 2))
    fake.release("IR3TIB01GBM156N", date(2025, 3, 1), "4.05", on=date(2025, 4, 15))
    fake.release("IR3TIB01GBM156N", date(2025, 3, 1), "4.07", on=date(2025, 5, 15))
    with fake.serve() as server:
        server.fail("GET /fred/series/observations", "busy")
        ...  # drive a client at server.url with fake.key
"""

from __future__ import annotations

from fxcarry_fred.testing.fake import FakeFred
from fxcarry_fred.testing.world import world

__all__ = ["FakeFred", "world"]
