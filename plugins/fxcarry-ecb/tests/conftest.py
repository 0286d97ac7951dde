"""The policy rates are those that are shipped, whatever the user of this machine has added."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_later_rates() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FXCARRY_POLICY_RATES", os.devnull)
        yield
