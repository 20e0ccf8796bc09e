"""What provisioning services of all editions share: contracts to install, the service, its answers, PCIDs."""

import enum
import re
from typing import Final

import msgspec
from cryptography import x509

from v2g.errors import CertificateError
from v2g.pki.certificates import common_name, emaid_of, load_certificate
from v2g.pki.keys import PrivateKey, SigningKey

_PCID: Final = re.compile(r"[A-Z0-9]{17,18}")


class Contract(msgspec.Struct, frozen=True):
    """A contract to install: its certificate and sub-CAs (DER, leaf first, no root) and its private key."""

    chain: tuple[bytes, ...]
    key: PrivateKey

    @property
    def emaid(self) -> str:
        """The normalised EMAID. Raises CertificateError(wrong_subject) without one."""
        return emaid_of(load_certificate(self.chain[0]))

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"Contract({len(self.chain)} certificates)"


class Service(msgspec.Struct, frozen=True):
    """A certificate provisioning service: its chain (DER, leaf first, no root) and the key that signs."""

    chain: tuple[bytes, ...]
    key: SigningKey


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The encoded response, the number of remaining contracts, and a reason for logs; `code` is the edition's."""

    code: enum.Enum
    exi: bytes
    remaining: int = 0
    pcid: str = ""
    emaid: str = ""
    reason: str = ""


def pcid_of(provisioning: x509.Certificate) -> str:
    """Return the PCID of a provisioning certificate, as it authenticates a contract key in -20 (Annex C.2).

    Raises CertificateError(wrong_subject).
    """
    return read_pcid(common_name(provisioning))


def read_pcid(text: str) -> str:
    """Return a PCID without separators, in upper case. Raises CertificateError(wrong_subject) for an invalid one."""
    pcid = text.replace("-", "").upper()
    if not text.isascii() or not _PCID.fullmatch(pcid):  # a letter outside ASCII may have a capital inside
        raise CertificateError(f"{text!r} is not a PCID", reason="wrong_subject", hint="17 or 18 letters and digits")
    return pcid
