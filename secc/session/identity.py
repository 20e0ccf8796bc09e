"""The parties of a session: the charger with its keys and roots, its names in the journal, and the paying contract."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from v2g.iso15118.engine.session import Entropy
from v2g.pki.certificates import emaid_of, load_certificate
from v2g.pki.crl import RevocationList
from v2g.pki.keys import SigningKey


class SessionTrust(msgspec.Struct, frozen=True):
    """The charger's trust anchors and its own identity: `key` and `chain` of its TLS leaf. DER, `chain` leaf first.

    `crosses` are stored cross certificates, over which chains may lead to the roots. `interop` also accepts the
    algorithms of -2 era peers: P-256 and SHA-256. Contracts listed in `crls` are refused before any other query.
    """

    v2g_roots: tuple[bytes, ...]
    mo_roots: tuple[bytes, ...]
    key: SigningKey
    chain: tuple[bytes, ...]
    interop: bool = False
    oem_roots: tuple[bytes, ...] = ()
    crosses: tuple[bytes, ...] = ()
    crls: tuple[RevocationList, ...] = ()
    price_key: SigningKey | None = None
    """Key of the operator of contracts (eMSP) that signs price schedules; None: they are unsigned."""
    central: bool = False
    """Whether the CSMS judges contracts whose root is not known here (C07.FR.06)."""


class Identity(msgspec.Struct, frozen=True):
    """Names in the journal. `meter_certificate` is the meter's certificate (DER), `voltmeter_offset_mv` the calibration
    of the output's voltmeter."""

    station_id: str
    meter_serial: str
    meter_certificate: bytes
    voltmeter_offset_mv: int = 0

    @property
    def meter_id(self) -> str:
        """MeterID in messages, which has 32 characters at most: a certificate's common name may have 64."""
        return self.meter_serial[:32]


class Connection(msgspec.Struct, frozen=True):
    """Properties of a connection."""

    trust: SessionTrust
    identity: Identity
    entropy: Entropy
    vehicle_certificate: bytes = b""
    """The leaf (DER) that the vehicle presented in TLS; empty without TLS."""
    tls: bool = True
    """Whether the connection is TLS, a condition for Plug & Charge and contract installation."""
    can_plan: bool = False
    """Whether a back end receives the vehicle's needs and answers."""
    served: tuple[str, ...] = ()
    """Namespaces of the protocols that are served on it, of all editions."""


class Contract(msgspec.Struct, frozen=True):
    """A contract certificate whose chain and signature are valid; `known_root` is false if the CSMS has to judge the
    chain."""

    emaid: str
    chain: tuple[bytes, ...]
    expires_soon: bool
    known_root: bool = True


EXPIRES_SOON: Final = timedelta(days=14)  # V2G20-2218
"""A contract that ends within this is accepted with a hint."""


def contract_of(chain: Sequence[bytes], at: datetime, *, known_root: bool = True) -> Contract:
    """Return the contract of a chain, DER, leaf first. Raises CertificateError."""
    leaf = load_certificate(chain[0])
    return Contract(emaid_of(leaf), tuple(chain), leaf.not_valid_after_utc - at <= EXPIRES_SOON, known_root)
