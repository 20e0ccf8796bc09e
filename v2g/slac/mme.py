"""Management messages of HomePlug Green PHY for matching (HomePlug GP 1.1; ISO 15118-3, annex A).

Declarations only; `encode` and `decode` are derived from them. Multi-byte integers are little endian, MAC
addresses and identifiers plain bytes in wire order. Names are those of the specification.
"""

from typing import Annotated, Final

import msgspec

from v2g.errors import FrameError
from v2g.slac import vendor
from v2g.slac.layout import U8, U16, Codec, Items, Mac, Mme, MmeLayout, RecordType, Sized, Zero, codec_of

ETHERTYPE: Final = 0x88E1
BROADCAST: Final = b"\xff" * 6
LOCAL_MODEM: Final = bytes.fromhex("00b052000001")
"""Address at which the modem at our own port answers, regardless of its own address."""

MIN_FRAME: Final = 60
MAX_FRAME: Final = 1514
"""Ethernet frame lengths (bytes) without checksum."""

GROUPS: Final = 58
"""Carrier groups of an attenuation profile."""

NUM_SOUNDS: Final = 10
TIME_OUT: Final = 6  # x 100 ms
RESP_TYPE_GP_STATION: Final = 1

RunId = Annotated[bytes, MmeLayout("8s")]
PaddedRunId = Annotated[bytes, MmeLayout("8s", pad=8)]
Id17 = Annotated[bytes, MmeLayout("17s")]
Nonce = Annotated[bytes, MmeLayout("4s")]
Aag = Annotated[bytes, MmeLayout(f"{GROUPS}s")]
NumGroups = Annotated[int, MmeLayout("B", fixed=GROUPS)]
PaddedNumGroups = Annotated[int, MmeLayout("B", pad=1, fixed=GROUPS)]
Nid = Annotated[bytes, MmeLayout("7s")]
PaddedNid = Annotated[bytes, MmeLayout("7s", pad=1)]
Nmk = Annotated[bytes, MmeLayout("16s", shown="secret")]

Validation = Annotated[int, MmeLayout("B", words=("not ready", "ready", "success", "failure", "not required"))]

_ZERO_ID = bytes(17)


class CmSlacParmReq(Mme, frozen=True, kw_only=True):
    """Vehicle to all: matching request. `run_id` is the vehicle's, new for every attempt."""

    MMTYPE = 0x6064
    application_type: Zero = 0
    security_type: Zero = 0
    run_id: RunId


class CmSlacParmCnf(Mme, frozen=True, kw_only=True):
    """Charger to vehicle: parameters of the sounds."""

    MMTYPE = 0x6065
    m_sound_target: Mac = BROADCAST
    num_sounds: U8 = NUM_SOUNDS
    time_out: U8 = TIME_OUT
    resp_type: U8 = RESP_TYPE_GP_STATION
    forwarding_sta: Mac
    application_type: Zero = 0
    security_type: Zero = 0
    run_id: RunId


class CmStartAttenCharInd(Mme, frozen=True, kw_only=True):
    """Vehicle to all, three times: sounding begins."""

    MMTYPE = 0x606A
    application_type: Zero = 0
    security_type: Zero = 0
    num_sounds: U8 = NUM_SOUNDS
    time_out: U8 = TIME_OUT
    resp_type: U8 = RESP_TYPE_GP_STATION
    forwarding_sta: Mac
    run_id: RunId


class CmMnbcSoundInd(Mme, frozen=True, kw_only=True):
    """Vehicle to all, ten times: measure this sound. `cnt` sounds remain (9 to 0)."""

    MMTYPE = 0x6076
    application_type: Zero = 0
    security_type: Zero = 0
    sender_id: Id17 = _ZERO_ID
    cnt: U8
    run_id: PaddedRunId
    rnd: Annotated[bytes, MmeLayout("16s")]


class CmAttenProfileInd(Mme, frozen=True, kw_only=True):
    """The charger's modem to its host, one per received sound: attenuation (dB) per carrier group."""

    MMTYPE = 0x6086
    pev_mac: Mac
    num_groups: PaddedNumGroups = GROUPS
    aag: Aag


class CmAttenCharInd(Mme, frozen=True, kw_only=True):
    """Charger to vehicle: attenuation (dB) per carrier group, averaged over `num_sounds`.

    `source_address` is the vehicle's address, not the sender's.
    """

    MMTYPE = 0x606E
    application_type: Zero = 0
    security_type: Zero = 0
    source_address: Mac
    run_id: RunId
    source_id: Id17 = _ZERO_ID
    resp_id: Id17 = _ZERO_ID
    num_sounds: U8
    num_groups: NumGroups = GROUPS
    aag: Aag


class CmAttenCharRsp(Mme, frozen=True, kw_only=True):
    """Vehicle to charger: profile received; `result` 0 is success."""

    MMTYPE = 0x606F
    application_type: Zero = 0
    security_type: Zero = 0
    source_address: Mac
    run_id: RunId
    source_id: Id17 = _ZERO_ID
    resp_id: Id17 = _ZERO_ID
    result: U8 = 0


class CmValidateReq(Mme, frozen=True, kw_only=True):
    """Vehicle to charger: watch my pilot. `timer` is 0 in step 1, then the window as (ms / 100) - 1."""

    MMTYPE = 0x6078
    signal_type: U8 = 0
    timer: U8 = 0
    result: Validation = 1


VALIDATE_NOT_READY: Final = 0
VALIDATE_READY: Final = 1
VALIDATE_SUCCESS: Final = 2
VALIDATE_FAILURE: Final = 3
VALIDATE_NOT_REQUIRED: Final = 4


class CmValidateCnf(Mme, frozen=True, kw_only=True):
    """Charger to vehicle: `result` is one of VALIDATE_*, `toggle_num` the toggles counted in step 2."""

    MMTYPE = 0x6079
    signal_type: U8 = 0
    toggle_num: U8 = 0
    result: Validation


class CmSlacMatchReq(Mme, frozen=True, kw_only=True):
    """Vehicle to the selected charger. Some senders write `mvf_length` big endian; receivers do not check it."""

    MMTYPE = 0x607C
    application_type: Zero = 0
    security_type: Zero = 0
    mvf_length: U16 = 0x003E
    pev_id: Id17 = _ZERO_ID
    pev_mac: Mac
    evse_id: Id17 = _ZERO_ID
    evse_mac: Mac
    run_id: PaddedRunId


class CmSlacMatchCnf(Mme, frozen=True, kw_only=True):
    """Charger to vehicle: the network to join."""

    MMTYPE = 0x607D
    application_type: Zero = 0
    security_type: Zero = 0
    mvf_length: U16 = 0x0056
    pev_id: Id17 = _ZERO_ID
    pev_mac: Mac
    evse_id: Id17 = _ZERO_ID
    evse_mac: Mac
    run_id: PaddedRunId
    nid: PaddedNid
    nmk: Nmk


class CmSetKeyReq(Mme, frozen=True, kw_only=True):
    """Host to its own modem: join the network of `nid` and `nmk`."""

    MMTYPE = 0x6008
    key_type: U8 = 1
    my_nonce: Nonce = bytes(4)
    your_nonce: Nonce = bytes(4)
    pid: U8 = 4
    prn: U16 = 0
    pmn: U8 = 0
    cco_capability: U8 = 0
    nid: Nid
    new_eks: U8 = 1
    nmk: Nmk


class CmSetKeyCnf(Mme, frozen=True, kw_only=True):
    """Modem to host. Success is `result` 0 by the specification, 1 on Qualcomm parts: not conclusive."""

    MMTYPE = 0x6009
    result: U8
    my_nonce: Nonce = bytes(4)
    your_nonce: Nonce = bytes(4)
    pid: U8 = 4
    prn: U16 = 0
    pmn: U8 = 0
    cco_capability: U8 = 0


class CmGetKeyReq(Mme, frozen=True, kw_only=True):
    """To a modem: query of its key. Diagnostic tools count the answers."""

    MMTYPE = 0x600C
    request_type: U8 = 0
    key_type: U8 = 1
    nid: Nid
    my_nonce: Nonce = bytes(4)
    pid: U8 = 4
    prn: U16 = 0
    pmn: U8 = 0


class CmGetKeyCnf(Mme, frozen=True, kw_only=True):
    """Modem: its network; a key may follow, which is not requested or parsed here."""

    MMTYPE = 0x600D
    result: U8
    key_type: U8
    my_nonce: Nonce
    your_nonce: Nonce
    nid: Nid
    eks: U8
    pid: U8
    prn: U16
    pmn: U8


class CmAmpMapReq(Mme, frozen=True, kw_only=True):
    """Either peer to the other once the link is up: amplitude per carrier, two nibbles a byte, even carrier low."""

    MMTYPE = 0x601C
    MMV = 2
    amlen: U16
    amplitudes: Annotated[bytes, Sized("amlen", nibbles=True)]


class CmAmpMapCnf(Mme, frozen=True, kw_only=True):
    """`result` 0: the map is used; 1: it is not."""

    MMTYPE = 0x601D
    MMV = 2
    result: U8 = 0


class CmNwStatsReq(Mme, frozen=True, kw_only=True):
    """Host to its modem: query of the stations in its network."""

    MMTYPE = 0x6048
    MMV = 2


class NwStation(RecordType, frozen=True, kw_only=True):
    """A station of the network; average rates in Mbit/s."""

    mac: Mac
    tx: U8
    rx: U8


class CmNwStatsCnf(Mme, frozen=True, kw_only=True):
    """Modem to host: the other stations in its network."""

    MMTYPE = 0x6049
    MMV = 2
    num_stas: U8
    stations: Annotated[tuple[NwStation, ...], Items("num_stas")]


_ALL: tuple[type[Mme], ...] = (
    CmSlacParmReq,
    CmSlacParmCnf,
    CmStartAttenCharInd,
    CmMnbcSoundInd,
    CmAttenProfileInd,
    CmAttenCharInd,
    CmAttenCharRsp,
    CmValidateReq,
    CmValidateCnf,
    CmSlacMatchReq,
    CmSlacMatchCnf,
    CmSetKeyReq,
    CmSetKeyCnf,
    CmGetKeyReq,
    CmGetKeyCnf,
    CmAmpMapReq,
    CmAmpMapCnf,
    CmNwStatsReq,
    CmNwStatsCnf,
    *vendor.MESSAGES,
    *vendor.LUMISSIL_MESSAGES,
)

Kind = tuple[int, bool, bytes]
"""Message type, whether its header has fragmentation fields (MMV 1 and 2), and the vendor's OUI."""


def kind_of(message: type[Mme]) -> Kind:
    """Return the key that identifies the message class on the wire."""
    return message.MMTYPE, message.MMV > 0, message.OUI


CODECS: Final[dict[Kind, Codec[Mme]]] = {kind_of(message): codec_of(message) for message in _ALL}
"""Every declared management message."""


class MmeFrame(msgspec.Struct, frozen=True):
    """An Ethernet frame with a management message; addresses are 6 bytes."""

    destination: bytes
    source: bytes
    message: Mme


_TYPE_AT = 12
_PAYLOAD_AT = {0: 17, 1: 19, 2: 19}  # MMV to the payload's offset
_VENDOR_TYPES = 0xA000


class MmeHeader(msgspec.Struct, frozen=True):
    """Header of a management message. `oui` is empty below 0xA000; `payload_at` is a frame offset."""

    version: int
    mmtype: int
    oui: bytes
    payload_at: int


def encode(frame: MmeFrame) -> bytes:
    """Return the Ethernet frame, padded to 60 bytes. Raises FrameError for a value that does not fit its field."""
    message = frame.message
    if len(frame.destination) != 6 or len(frame.source) != 6:
        raise FrameError("a MAC address has 6 bytes")
    head = bytes((message.MMV,)) + message.MMTYPE.to_bytes(2, "little") + (b"\0\0" if message.MMV else b"")
    body = head + message.OUI + codec_of(type(message)).pack(message)
    data = frame.destination + frame.source + ETHERTYPE.to_bytes(2, "big") + body
    if len(data) > MAX_FRAME:
        raise FrameError(f"{type(message).__name__} of {len(data)} bytes does not fit a frame")
    return data.ljust(MIN_FRAME, b"\0")


def read_header(data: bytes) -> MmeHeader:
    """Return the header of a management message.

    Raises FrameError for another EtherType, an unknown version, a fragment, or a frame too short or too long.
    """
    if not 17 <= len(data) <= MAX_FRAME:
        raise FrameError(f"{len(data)} bytes are not a management message")
    if int.from_bytes(data[_TYPE_AT:14], "big") != ETHERTYPE:
        raise FrameError(f"EtherType {data[_TYPE_AT:14].hex()} is not HomePlug")
    version, mmtype = data[14], int.from_bytes(data[15:17], "little")
    start = _PAYLOAD_AT.get(version)
    if start is None:
        raise FrameError(f"message type {mmtype:#06x} in version {version} is unknown")
    if version and data[17:19].strip(b"\0"):
        raise FrameError(f"message type {mmtype:#06x} is fragmented")
    if mmtype < _VENDOR_TYPES:
        return MmeHeader(version, mmtype, b"", start)
    return MmeHeader(version, mmtype, data[start : start + 3], start + 3)


def decode(data: bytes) -> MmeFrame:
    """Return the message in an Ethernet frame; padding after it is accepted.

    Raises FrameError for another EtherType, an unknown message type or version, a fragment, a foreign OUI, a message
    truncated, or a fixed field with another value. ISO 15118-3 requires all of these to be ignored.
    """
    header = read_header(data)
    codec = CODECS.get((header.mmtype, header.version > 0, header.oui))
    if codec is None and header.oui == vendor.LUMISSIL:  # their version is unclear
        codec = CODECS.get((header.mmtype, False, header.oui))
    if codec is None:
        vendor_words = f" of vendor {header.oui.hex()}" if header.oui else ""
        raise FrameError(f"message type {header.mmtype:#06x}{vendor_words} in version {header.version} is unknown")
    return MmeFrame(data[:6], data[6:12], codec.unpack(data[header.payload_at :]))
