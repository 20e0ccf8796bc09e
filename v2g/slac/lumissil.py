"""Management messages of Lumissil's modems (CG5317), as far as public tools show them. Declarations only."""

from typing import Annotated, Final

from v2g.slac.layout import U8, U16, Layout, Mme

LUMISSIL: Final = bytes.fromhex("0016e8")
"""The OUI."""


class Nscm(Mme, frozen=True, kw_only=True):
    """A message of Lumissil. Its header's version is unclear; 0 is sent."""

    MMV = 0
    OUI = LUMISSIL
    version: Annotated[int, Layout("H", pad=4)] = 0
    request_id: Annotated[int, Layout("B", pad=12)] = 0


class NscmGetVersionReq(Nscm, frozen=True, kw_only=True):
    """Query of the firmware version."""

    MMTYPE = 0xAC6C


class NscmGetVersionCnf(Nscm, frozen=True, kw_only=True):
    """Version of the firmware."""

    MMTYPE = 0xAC6D
    major: U16
    minor: U16
    patch: U16
    build: U16


class NscmResetDeviceReq(Nscm, frozen=True, kw_only=True):
    """Restart; there is no answer."""

    MMTYPE = 0xAC70
    mode: U8 = 0


class NscmGetDLinkStatusReq(Nscm, frozen=True, kw_only=True):
    """Query of the link status."""

    MMTYPE = 0xAC9C


class NscmGetDLinkStatusCnf(Nscm, frozen=True, kw_only=True):
    """`link_status` 1 is up."""

    MMTYPE = 0xAC9D
    link_status: Annotated[int, Layout("B", words=("down", "up"))]


MESSAGES: Final[tuple[type[Mme], ...]] = (
    NscmGetVersionReq,
    NscmGetVersionCnf,
    NscmResetDeviceReq,
    NscmGetDLinkStatusReq,
    NscmGetDLinkStatusCnf,
)
"""All declared ones."""
