"""The sheet of a reader study: one HTML file with its images inside; it saves answers and needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined


@dataclass(frozen=True, slots=True)
class SheetItem:
    """One image of the sheet."""

    token: str
    png: bytes
    """Without any text inside."""


def render_reader_sheet(study: str, items: Sequence[SheetItem], *, file_format: str) -> str:
    """The whole sheet; nothing in it tells real from synthetic.

    Args:
        study: id of the study.
        items: in the order in which they are shown.
        file_format: name and version of the file that it saves.
    """
    environment = Environment(loader=PackageLoader("synthbank.reports"), autoescape=True, undefined=StrictUndefined)
    shown = [{"item": i.token, "src": f"data:image/png;base64,{base64.b64encode(i.png).decode()}"} for i in items]
    return environment.get_template("reader_sheet.html.j2").render(study=study, items=shown, file_format=file_format)
