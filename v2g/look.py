"""What all pages share: a style sheet, and the frame of those that are one file and load nothing."""

import re
from html import escape
from importlib.resources import files
from typing import Final

LOOK: Final = (files("v2g") / "look.css").read_text("utf-8")
"""The style sheet, which the console serves, too."""


LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#\w+)", part)) for part in LOOK.split("@media screen and", 1))
"""Its colours by name, for pictures that stand alone."""


def document(
    title: str, body: str, *, style: str = "", script: str = "", language: str = "en", reload_s: int | None = None
) -> str:
    """Return a page, which is well-formed XML if its `body` (HTML) is. `title` is escaped.

    `style` and `script` are what only this page has. `reload_s`: after so many seconds it loads itself again.
    """
    again = "" if reload_s is None else f'<meta http-equiv="refresh" content="{reload_s}"/>'
    program = f"<script>//<![CDATA[\n{script}//]]></script>" if script else ""
    return (
        f'<!DOCTYPE html>\n<html lang="{language}" xmlns="http://www.w3.org/1999/xhtml"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"/>'
        f"{again}"
        f"<title>{escape(title)}</title><style>{LOOK}{style}</style></head>\n"
        f'<body class="sheet">\n{body}\n{program}</body></html>\n'
    )
