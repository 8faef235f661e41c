"""Pages from templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from synthbank import __version__


@dataclass(frozen=True, slots=True)
class _Page:
    name: str
    href: str
    icon: str
    """Path of a 24 x 24 line drawing."""


NAV = (
    _Page("Make", "/make", "M12 3v4m0 10v4M3 12h4m10 0h4M6 6l2.5 2.5m7 7L18 18M18 6l-2.5 2.5m-7 7L6 18"),
    _Page("Bank", "/bank", "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z"),
    _Page("Training", "/training", "M3 20h18M4 16l5-6 4 4 7-9"),
    _Page("Evidence", "/evidence", "M4 12l5 5L20 6"),
    _Page("Readers", "/readers", "M2 12s4-7 10-7 10 7 10 7-4 7-10 7-10-7-10-7zm10-3a3 3 0 1 0 0 6 3 3 0 0 0 0-6z"),
    _Page("Data", "/data", "M4 6c0-3 16-3 16 0s-16 3-16 0v12c0 3 16 3 16 0V6M4 12c0 3 16 3 16 0"),
    _Page("Keys", "/keys", "M14 10a4 4 0 1 0-3.5 4L14 10zm0 0l7-7m-3 3l2 2"),
)


@cache
def _environment() -> Environment:
    loader = PackageLoader("synthbank.service", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def page(name: str, *, title: str, here: str = "", status: int = 200, nav: bool = True, **values: Any) -> HTMLResponse:
    """A whole page.

    Args:
        name: of the template, without ending.
        title: of the browser's tab.
        here: `href` of the page in the navigation.
        status: of the response.
        nav: show the navigation; off where nobody is signed in.
        **values: variables of the template.
    """
    shared = {"title": title, "here": here, "nav": NAV if nav else (), "version": __version__, "scripts": ()}
    text = _environment().get_template(f"{name}.html.j2").render(shared | values)
    return HTMLResponse(text, status)
