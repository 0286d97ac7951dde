"""The plugins and the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fxcarry import plugins
from fxcarry.build import make
from fxcarry.checkup.records import Sheet
from fxcarry.config import Config, load_config
from fxcarry.errors import ConfigError
from fxcarry.plugins import Registry
from fxcarry.risk import default_rules
from fxcarry.universe import universe_of

FIRST_STEPS = """\
1. fxcarry init writes fxcarry.toml and .env, which work without a key
2. fxcarry check passes then, with warnings at most
3. fxcarry run --strategy baseline --replay 2024-01-02 trades on paper over stored history
4. for paper trading in real time: a live feed and, if you like, a practice account (fxcarry plugins lists what there \
is), mode = "paper", fxcarry check, fxcarry run --strategy baseline"""
"""How to get from nothing to paper trading."""


def look_at_plugins(sheet: Sheet, environ: Mapping[str, str], registry: Registry | None) -> Registry | None:
    """What is installed; None where two plugins offer the same, so that nothing can be used."""
    note = sheet.about("plugins")
    with sheet.asked("plugins", "loaded"):
        found = plugins.load(environ) if registry is None else registry
        for broken in found.broken:
            error = f"{type(broken.error).__name__}: {broken.error}"
            advice = f"reinstall or uninstall {broken.distribution}"
            note(broken.name, "fail", f"of {broken.distribution} is broken: {error}", advice)
        origins = sorted({f"{origin.distribution} {origin.version}" for origin in found.origins.values()})
        note("loaded", "pass", f"{len(found.components)} components of {', '.join(origins) or 'nobody'}")
        return found
    return None


def look_at_configuration(
    sheet: Sheet, path: Path | None, default: Path, registry: Registry, environ: Mapping[str, str], now: datetime
) -> Config | None:
    """The configuration, with everything that is wrong with it; None where it cannot be used."""
    note = sheet.about("configuration")
    chosen = path or (default if default.is_file() else None)
    changed = sorted(name for name in environ if name.upper().startswith("FXCARRY__"))
    if chosen is not None:
        if chosen.is_file():
            note("file", "pass", f"{chosen}" + (f", changed by {', '.join(changed)}" if changed else ""))
    elif changed:
        note("file", "pass", f"there is no {default}; the defaults, changed by {', '.join(changed)}")
    else:
        note("file", "fail", f"nothing is configured: there is no {default} in {Path.cwd()}", FIRST_STEPS)
    settings = None
    with sheet.asked("configuration", "valid"):
        settings = load_config(chosen, registry, environ)
        kept = f"{settings.account_currency} account, rebalance {settings.rebalance}"
        note("valid", "pass", f'mode = "{settings.mode}", {kept}')
    if settings is None:
        return None
    for name, section in settings.strategies.items():
        with sheet.asked("configuration", f"strategy {name}"):
            make(section)
            own = "" if section.rules is None else f", {len([make(rule) for rule in section.rules])} rules of its own"
            note(f"strategy {name}", "pass", section.component.summary + own)
    if not settings.strategies:
        note("strategies", "fail", "none is configured", '[strategies.baseline] with use = "baseline"')
    with sheet.asked("configuration", "rules"):
        rules = default_rules() if settings.rules is None else [make(rule) for rule in settings.rules]
        names = ", ".join(rule.name for rule in rules)
        is_off = not rules
        advice = "leave rules out for the default set" if is_off else ""
        note("rules", "warn" if is_off else "pass", "none: nothing limits a loss" if is_off else names, advice)
    with sheet.asked("configuration", "universe"):
        members = universe_of(settings.universe, settings.account_currency).members_at(now.date())
        if not members:
            raise ConfigError(f"no currency is a member on {now:%Y-%m-%d}", hint="name others under universe")
        note("universe", "pass", f"{', '.join(members)} against {settings.account_currency}")
    return settings
