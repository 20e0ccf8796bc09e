"""The editions that a charger serves, listed only here."""

from typing import Final

from secc.session.d20.edition import Iso20
from secc.session.edition import Edition

EDITIONS: Final[tuple[Edition, ...]] = (Iso20(),)
"""The first one answers vehicles that support none of them."""
