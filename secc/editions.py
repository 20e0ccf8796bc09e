"""The editions that this program has, listed only here; each is imported where it is enabled."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Final

from secc.session.config import SeccConfig
from secc.session.edition import Edition
from v2g.iso15118.select import EditionName

_CLASSES: Final[Mapping[EditionName, tuple[str, str]]] = {
    "20": ("secc.session.d20.session", "Iso20"),
    "2": ("secc.session.d2.session", "Iso2"),
    "din": ("secc.session.din.session", "Din"),
}


@cache
def edition(name: EditionName) -> Edition:
    """Return an edition; the messages of the others need not be loaded."""
    module, kind = _CLASSES[name]
    loaded: Edition = getattr(import_module(module), kind)()
    return loaded


def enabled(config: SeccConfig) -> dict[EditionName, Edition]:
    """Return the editions that the configuration names, in its order."""
    return {name: edition(name) for name in config.editions}
