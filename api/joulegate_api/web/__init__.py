"""Templates and static files of the pages and of the HTML report; rendered on the server, no build step.

What is *not* done here: nothing is read from the store and nothing is added up.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from joulegate.core import display


@cache
def environment() -> Environment:
    """The templates; everything is escaped, and a name that is not given is an error."""
    pages = Environment(
        loader=PackageLoader("joulegate_api", "web/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "energy": display.energy,
        "carbon": display.carbon,
        "moment": display.moment,
        "duration": display.duration,
        "exact": _exact,
    }
    pages.globals |= {"between": display.energy_between, "money": display.money, "percent": display.percent}
    return pages


def render(template: str, **values: Any) -> str:  # noqa: ANN401 -- what a template is given
    """A page."""
    return environment().get_template(template).render(**values)


@cache
def stylesheet() -> str:
    """The style of the pages, which the HTML report carries inside."""
    return files("joulegate_api").joinpath("web/static/joulegate.css").read_text(encoding="utf-8")


def style_hash(style: str) -> str:
    """What a Content-Security-Policy names a style by, so that no other is obeyed."""
    return f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'"


def svg(text: str) -> Markup:
    """A picture that :mod:`joulegate.core.charts` drew: it escapes every name itself."""
    return Markup(text)  # noqa: S704 -- see above


def _exact(value: int | None, unit: str) -> str:
    """A whole number of base units as it is kept."""
    return "" if value is None else f"{value:,} {unit}"
