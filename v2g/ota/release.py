"""What signed metadata say about an image, and whether a device may install it (R139, R140).

An image is a target of The Update Framework (TUF). Its metadata give length and SHA-256; `custom` has the fields of
`TargetFacts`. Metadata cannot go back once a device has seen newer ones; `number` says the same of images: an operator
goes back to an older one by releasing it again under a higher number.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import InstallError
from v2g.text import printable

Hardware = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""Name of a kind of hardware, as its maker chooses it."""

Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""Number of a release: each is above all before."""

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z"
"""Names of images: the last part of the URL that a back end gives."""


class RepositoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Firmware is installed only if a repository of releases lists it (TUF)."""

    root: Path
    """The repository's root metadata, JSON: any version, later ones are found from there."""
    url: Annotated[str, Meta(pattern=r"^https?://[^\s?#]+\Z")]
    """Address of the repository: the folder above `metadata`."""
    hardware: Hardware
    """Kind of this hardware; releases for others are refused."""
    number: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """Number of the release that this firmware is; lower ones are refused."""


class TargetFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The field `custom` of a target."""

    number: Number
    hardware: Annotated[tuple[Hardware, ...], Meta(min_length=1, max_length=64)]
    """Kinds of hardware that may have it."""
    patch_of: "Origin | None" = None
    """Of a patch: the image that it turns into the release."""
    components: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    """SHA-256, hexadecimal, of the list of the image's components (SBOM), which is beside it (`components_name`)."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a patch is for: its length in octets, and its SHA-256, hexadecimal."""

    length: Annotated[int, Meta(ge=0)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A released image: `length` in octets, `digest` is its SHA-256."""

    name: str
    length: int
    digest: bytes
    facts: TargetFacts


def patch_name(name: str, number: int) -> str:
    """Return the name of the patch that turns the image of a release into this one (R134)."""
    return f"{name}.from-{number}"


def components_name(name: str) -> str:
    """Return the name of the list of an image's components, which no device loads."""
    return f"{name}.cdx.json"


def read_release(name: str, length: int, hashes: dict[str, str], custom: object) -> Release:
    """Return what a target says. Raises InstallError if something is missing."""
    try:
        facts, digest = typed_json.convert(custom, TargetFacts), bytes.fromhex(hashes.get("sha256", ""))
    except (msgspec.ValidationError, ValueError) as error:
        raise InstallError(f"the release {printable(name)} is incomplete: {error}", verification=True) from None
    if len(digest) != 32:
        raise InstallError(f"the release {printable(name)} has no SHA-256", verification=True)
    return Release(name=name, length=length, digest=digest, facts=facts)


def check_release(release: Release, hardware: str, installed: int) -> None:
    """Raise InstallError unless a device of this hardware may install a release; `installed` is the number of the
    newest that it has confirmed, 0 for none."""
    facts = release.facts
    if facts.patch_of is not None:
        raise InstallError(f"{release.name} is a patch, no image", verification=True)
    if hardware not in facts.hardware:
        wanted = ", ".join(facts.hardware[:5])
        raise InstallError(f"release {facts.number} is for {wanted}, not for {hardware}", verification=True)
    if facts.number < installed:
        raise InstallError(
            f"release {facts.number} is older than {installed}, which has run here",
            verification=True,
            hint="release the older image again, under a higher number",
        )
