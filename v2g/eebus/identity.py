"""Who is who in EEBUS: the SKI of a certificate, the record by which a node is found, and the text of its QR code."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography import x509

from v2g.errors import CertificateError, CodecError

SERVICE: Final = "_ship._tcp.local."
SKI: Final = re.compile(r"[0-9a-f]{40}\Z")
_MOST: Final = 63
"""Bytes of a SHIP id."""
_MOST_LABEL: Final = 32
"""Bytes of each part of a label in a record."""


def ski_of(certificate: x509.Certificate) -> str:
    """Return the SKI of a certificate: the SHA-1 of its public key's bits, 40 lower-case hex digits.

    It is what identifies a node, so it is computed, and the extension of that name must have it (SHIP, 12.2). Raises
    CertificateError.
    """

    digest = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    try:
        told = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        raise CertificateError("the certificate has no readable subjectKeyIdentifier", reason="bad_profile") from None
    if told != digest:
        raise CertificateError("the subjectKeyIdentifier is not that of the public key", reason="bad_profile")
    return digest.hex()


def parse_ski(text: str) -> str:
    """Return an SKI that a person typed: spaces, colons and dashes are left out. Raises CodecError."""
    ski = re.sub(r"[\s:-]", "", text).lower()
    if not SKI.match(ski):
        raise CodecError(f"{text[:60]!r} is not an SKI", hint="an SKI has 40 hexadecimal digits")
    return ski


def ship_id(brand: str, model: str, serial: str) -> str:
    """Return the id of a node. Where it is too long, brand and model are cut off: serial numbers differ."""
    start, end = "d:_n:", f"-{serial}"
    make = _cut(f"{brand}_{model}".replace(" ", "-"), max(0, _MOST - len(start) - len(end.encode())))
    return _cut(start + make + end, _MOST)


def _cut(text: str, most: int) -> str:
    """Return as much of a text as `most` bytes have room for."""
    return text.encode()[:most].decode(errors="ignore")


class ShipNode(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself by mDNS and on its label. `id` is at most 63 bytes long."""

    ski: str
    id: str
    path: str = "/ship/"
    register: bool = False
    """Whether it trusts anybody now."""
    brand: str = ""
    model: str = ""
    type: str = ""
    serial: str = ""
    categories: tuple[str, ...] = ()

    def txt(self) -> dict[str, str]:
        """Return its TXT record."""
        return {
            "txtvers": "1",
            "id": self.id,
            "path": self.path,
            "ski": self.ski,
            "register": "true" if self.register else "false",
            "cat": ",".join(self.categories),
            **{name: _cut(value, _MOST_LABEL) for name, value in self._label().items() if value},
        }

    def qr(self) -> str:
        """Return the text of its QR code."""
        shown = {"SKI": self.ski, "ID": self.id, **{name.upper(): value for name, value in self._label().items()}}
        shown["CAT"] = ",".join(self.categories)
        parts = (f"{name}:{value.replace(';', ' ')};" for name, value in shown.items() if value)
        return f"SHIP;{''.join(parts)}ENDSHIP;"

    def _label(self) -> dict[str, str]:
        return {"brand": self.brand, "type": self.type, "model": self.model, "serial": self.serial}


def node_of(record: Mapping[bytes, bytes | None]) -> ShipNode:
    """Return the node of a TXT record, as `zeroconf` delivers it. Raises CodecError."""
    try:
        said = {key.decode().lower(): (value or b"").decode() for key, value in record.items()}
    except UnicodeDecodeError:
        raise CodecError("the TXT record is not UTF-8") from None
    ski, path, ship_id = said.get("ski", "").lower(), said.get("path", ""), said.get("id", "")
    if said.get("txtvers") != "1" or not SKI.match(ski) or not path.startswith("/") or len(path) > 32 or not ship_id:
        raise CodecError("the TXT record is not one of SHIP")
    return ShipNode(
        ski=ski,
        id=ship_id[:_MOST],
        path=path,
        register=said.get("register") == "true",
        brand=said.get("brand", "")[:32],
        model=said.get("model", "")[:32],
        type=said.get("type", "")[:32],
        serial=said.get("serial", "")[:32],
        categories=tuple(said.get("cat", "")[:32].split(",")),
    )
