"""Who takes part in a session: the charger with its keys and roots, its names in the books, and the paying contract."""

import msgspec

from v2g.iso15118.engine.session import Entropy
from v2g.pki.crl import RevocationList
from v2g.pki.keys import SigningKey


class Trust(msgspec.Struct, frozen=True):
    """Whom the charger believes, and who it is: `key` and `chain` of its TLS leaf. DER, `chain` leaf first.

    `crosses` are cross certificates held here, over which chains may lead to the roots. `interop` also takes what -2
    era peers sign with: P-256 and SHA-256. A contract that `crls` name is refused before
    anybody else is asked.
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
    """Key of the operator of contracts (eMSP) that vouches for price schedules; they are unsigned without one."""


class Identity(msgspec.Struct, frozen=True):
    """Names that stand in the books. `meter_certificate` is the meter's certificate (DER)."""

    station_id: str
    meter_serial: str
    meter_certificate: bytes


class Connection(msgspec.Struct, frozen=True):
    """What holds as long as the connection."""

    trust: Trust
    identity: Identity
    entropy: Entropy
    vehicle_certificate: bytes = b""
    """The leaf (DER) that the vehicle showed in TLS; empty without TLS."""
    tls: bool = True
    """Whether the connection is TLS, without which there is neither Plug & Charge nor contracts to fetch."""
    can_plan: bool = False
    """Whether there is a back end that is told what vehicles need, and answers."""


class Contract(msgspec.Struct, frozen=True):
    """A contract certificate whose chain and signature held."""

    emaid: str
    chain: tuple[bytes, ...]
    expires_soon: bool
