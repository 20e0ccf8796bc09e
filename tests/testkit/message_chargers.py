"""Our chargers of ISO 15118-2 and DIN 70121, with rigs that test them."""

from typing import Any, Final, NamedTuple

from pki_tools.tree import PkiTree
from secc.session.config import DinConfig, EnergyService, Iso2Config, SeccConfig
from secc.session.d2.session import Iso2Session
from secc.session.din.session import DinSession
from tests.testkit.rig import Rig
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g_testkit.cases.case import Case
from v2g_testkit.cases.editions import CHARGERS, Edition

STRICT: Final = SeccConfig(
    services=(EnergyService.DC, EnergyService.AC),
    authorization=(Authorization.EIM, Authorization.PnC),
    iso2=Iso2Config(strict=True),
    din=DinConfig(strict=True),
)
"""Refuses profiles above PMax, as ISO 15118-4 demands."""


class Way(NamedTuple):
    """An edition with a set of messages."""

    edition: Edition
    family: Family

    def __str__(self) -> str:
        return f"{self.edition.value}-{self.family.value}"

    def cases(self) -> tuple[Case, ...]:
        """Return the cases that need no socket."""
        return tuple(case for case in CHARGERS[self.edition].cases(self.family) if not case.probe)


WAYS: Final = (Way(Edition.ISO2, Family.AC), Way(Edition.ISO2, Family.DC), Way(Edition.DIN, Family.DC))


def rig_of(way: Way, pki: PkiTree, *, kind: Any = None, **options: Any) -> Rig:
    """Return a rig; `kind` is the class of the charger's session, if not the product's."""
    own = {Edition.ISO2: Iso2Session, Edition.DIN: DinSession}[way.edition]
    settings = {"config": STRICT, "tls": False, **options}
    return Rig(pki, way.family, kind=kind or own, edition=way.edition, **settings)
