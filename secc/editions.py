"""The editions that this program has, listed only here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secc.session.config import SeccConfig
from secc.session.d2.edition import Iso2
from secc.session.d20.edition import Iso20
from secc.session.din.edition import Din
from secc.session.edition import Edition
from v2g.iso15118.select import EditionName

EDITIONS: Final[Mapping[EditionName, Edition]] = MappingProxyType({"20": Iso20(), "2": Iso2(), "din": Din()})


def enabled(config: SeccConfig) -> dict[EditionName, Edition]:
    """Return the editions that the configuration names, in its order."""
    return {name: EDITIONS[name] for name in config.editions}
