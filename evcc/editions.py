"""The editions that this program has, listed only here; each is imported where it is offered."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Final

from evcc.session.edition import Edition
from v2g.iso15118.select import EditionName

_CLASSES: Final[Mapping[EditionName, tuple[str, str]]] = {
    "20": ("evcc.session.d20.session", "Iso20"),
    "2": ("evcc.session.d2.session", "Iso2"),
    "din": ("evcc.session.din.session", "Din"),
}


@cache
def edition(name: EditionName) -> Edition:
    """Return an edition; the messages of the others need not be loaded."""
    module, kind = _CLASSES[name]
    loaded: Edition = getattr(import_module(module), kind)()
    return loaded
