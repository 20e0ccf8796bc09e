"""The objects of OCPI in the inner form, with the fields that are read here; others stay in the plain values."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id36 = Annotated[str, Meta(pattern=r"^[ -~]{1,36}\Z")]
Id39 = Annotated[str, Meta(pattern=r"^[ -~]{1,39}\Z")]
CountryCode = Annotated[str, Meta(pattern=r"^[A-Za-z]{2}\Z")]
PartyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{3}\Z")]
OcpiUrl = Annotated[str, Meta(min_length=1, max_length=2000)]
OcpiText = Annotated[str, Meta(max_length=255)]
OpenEnum = Annotated[str, Meta(min_length=1, max_length=64)]
"""A value of an enumeration that partners may extend."""
ModuleRole = Literal["SENDER", "RECEIVER"]


class OcpiObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object of OCPI; unknown fields are tolerated."""


# -- versions and credentials


class OfferedVersion(OcpiObject, frozen=True):
    """A version that a party offers, and where its details are."""

    version: Annotated[str, Meta(max_length=16)]
    url: OcpiUrl


class ModuleEndpoint(OcpiObject, frozen=True):
    """Where a module of a role is."""

    identifier: OpenEnum
    url: OcpiUrl
    role: OpenEnum = ""


class VersionDetails(OcpiObject, frozen=True):
    """The modules of a version."""

    version: Annotated[str, Meta(max_length=16)]
    endpoints: Annotated[tuple[ModuleEndpoint, ...], Meta(max_length=100)]


class BusinessDetails(OcpiObject, frozen=True):
    """Whose party it is."""

    name: Annotated[str, Meta(max_length=100)]


class PartyRole(OcpiObject, frozen=True):
    """A party that a platform speaks for, and its role (CPO, EMSP, HUB, ...)."""

    role: OpenEnum
    business_details: BusinessDetails
    country_code: CountryCode
    party_id: PartyId


class Credentials(OcpiObject, frozen=True):
    """What parties exchange to reach each other. `url` is that of the versions."""

    token: Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]
    url: OcpiUrl
    roles: Annotated[tuple[PartyRole, ...], Meta(min_length=1, max_length=100)]
