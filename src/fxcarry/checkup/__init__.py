"""Is everything in place? Machine, environment, plugins, configuration, feed, broker, channels and journal.

:func:`check_up` looks at one after the other and tells of each what was found and, where something is missing, what to
do. One that fails never stops the others. Nothing is traded unless ``round_trip`` asks for it, no value of a secret is
shown, and nothing is changed but what the parts themselves do when they are asked (an archive of financing rates).
"""

from __future__ import annotations

import os
from collections.abc import Collection, MutableMapping
from datetime import UTC, datetime
from pathlib import Path

import attrs

from fxcarry.checkup.account import look_at_broker
from fxcarry.checkup.data import look_at_feed
from fxcarry.checkup.host import KNOWN_VARIABLES, look_at_machine, look_at_variables, read_environment
from fxcarry.checkup.records import COMPONENTS, Check, CheckUp, Sheet, Status
from fxcarry.checkup.settings import FIRST_STEPS, look_at_configuration, look_at_plugins
from fxcarry.checkup.state import look_at_journal, look_at_notifiers
from fxcarry.errors import ConfigError
from fxcarry.plugins import Registry
from fxcarry.secrets import Secret, SecretFilter

__all__ = ["COMPONENTS", "FIRST_STEPS", "KNOWN_VARIABLES", "Check", "CheckUp", "Status", "check_up"]


def check_up(
    path: str | Path | None = None,
    *,
    folder: str | Path = "fxcarry-state",
    only: Collection[str] = (),
    round_trip: bool = False,
    send: bool = False,
    environ: MutableMapping[str, str] = os.environ,
    registry: Registry | None = None,
    now: datetime | None = None,
) -> CheckUp:
    """Look at everything in its order.

    Args:
        path: the configuration; None is ``fxcarry.toml`` in the working directory, or the defaults.
        folder: the state folder, where the journal is.
        only: of :data:`COMPONENTS`, empty = all. The configuration is told all the same where it cannot be used.
        round_trip: deal the smallest order on a practice or simulated account and close it again.
        send: try every channel of alerts with one; else the console only.
        environ: the environment; the variables of ``.env`` are put into it, as every command does.
        registry: the plugins; None = those that are installed.
        now: the clock on the wall.

    Raises ConfigError for a component that there is none of.
    """
    unknown = [name for name in only if name not in COMPONENTS]
    if unknown:
        raise ConfigError(f"there is no component {unknown[0]!r}", hint=f"one of {', '.join(COMPONENTS)}")
    wanted, place, at = set(only or COMPONENTS), Path(folder), now or datetime.now(UTC)
    default, env_file, sheet = Path("fxcarry.toml"), Path(".env"), Sheet()
    read_environment(sheet, env_file, environ)
    installed, settings = look_at_plugins(sheet, environ, registry), None
    chosen = None if path is None else Path(path)
    if installed is not None:
        settings = look_at_configuration(sheet, chosen, default, installed, environ, at)
    secrets: tuple[Secret, ...] = () if settings is None else settings.secrets
    look_at_variables(sheet, environ, secrets)
    if "machine" in wanted:
        look_at_machine(sheet, place, at, (chosen or default, env_file))
    if settings is None:
        wanted |= {"plugins", "configuration"}
        for component in ("feed", "broker", "notifier"):
            sheet.note(component, "all", "skip", "the configuration cannot be used; see there")
    else:
        snapshot = look_at_feed(sheet, settings, at) if wanted & {"feed", "broker"} else None
        if "broker" in wanted:
            look_at_broker(sheet, settings, place, snapshot, environ, at, round_trip=round_trip)
        if "notifier" in wanted:
            look_at_notifiers(sheet, settings, at, send=send)
    if "journal" in wanted:
        look_at_journal(sheet, settings, place, at)
    mask = SecretFilter(secrets).redact
    found = [
        attrs.evolve(one, detail=mask(one.detail), advice=mask(one.advice))
        for name in COMPONENTS
        for one in sheet.checks
        if name in wanted and one.component.split(" ")[0] == name
    ]
    return CheckUp(at=at, checks=tuple(found))
