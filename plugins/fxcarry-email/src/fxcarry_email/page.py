"""An alert as HTML that stands alone: nothing is loaded from anywhere, everything said in it is escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fxcarry.alerts import one_line, words
from fxcarry.model import Alert

if TYPE_CHECKING:
    from jinja2 import Template

_COLOURS = {"info": "#0a5bb5", "warning": "#9a5300", "critical": "#b42318"}  # white on each is at least 5:1


def alert_html(alert: Alert) -> str:
    """What happened, what the engine does, what the reader may do, and the facts."""
    return _template().render(
        said=words(alert),
        severity=alert.severity,
        kind=one_line(alert.kind),
        colour=_COLOURS.get(alert.severity, _COLOURS["warning"]),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    source = files("fxcarry_email").joinpath("page.html").read_text("utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )
