"""Management messages of Qualcomm's modems: configuration, status and diagnosis. Declarations only.

QCA7000, QCA7005, QCA7006, AR7420 and QCA7420, as far as public tools show them, and an own one that simulated
modems exchange in place of beacons.
"""

from typing import Annotated, Final

from v2g.slac.layout import U8, U16, U32, Items, Mac, Mme, MmeLayout, RecordType, Sized

QUALCOMM: Final = bytes.fromhex("00b052")
SIMULATED: Final = bytes.fromhex("027632")
"""OUIs. The last is locally administered: no vendor has it."""

MODULE_PIB: Final = 2
MODULE_PARAMETERS: Final = 0x7002
"""The parameter block (PIB) in VS_RD_MOD and VS_WR_MOD, and in VS_MODULE_OPERATION."""

BLOCK: Final = 1024
"""Maximum bytes of a module in one message."""

Status8 = Annotated[int, MmeLayout("B", words=("success",))]
Status16 = Annotated[int, MmeLayout("H", words=("success",))]
Nid = Annotated[bytes, MmeLayout("7s")]
Role = Annotated[int, MmeLayout("B", words=("station", "proxy coordinator", "central coordinator"))]
Text8 = Annotated[bytes, MmeLayout("8s", shown="text")]
Text12 = Annotated[bytes, MmeLayout("12s", shown="text")]
Text16 = Annotated[bytes, MmeLayout("16s", shown="text")]


class Vs(Mme, frozen=True, kw_only=True):
    """A message of Qualcomm, in the header of version 0."""

    MMV = 0
    OUI = QUALCOMM


class VsSwVerReq(Vs, frozen=True, kw_only=True):
    """Query of the version. Broadcast, every modem of the network answers."""

    MMTYPE = 0xA000
    cookie: U32 = 0


class VsSwVerCnf(Vs, frozen=True, kw_only=True):
    """Class of chip and version of its firmware."""

    MMTYPE = 0xA001
    mstatus: Status8 = 0
    device_id: U8
    length: U8
    version: Annotated[bytes, Sized("length", shown="text")]


class VsRsDevReq(Vs, frozen=True, kw_only=True):
    """Restart."""

    MMTYPE = 0xA01C


class VsRsDevCnf(Vs, frozen=True, kw_only=True):
    """The modem is about to restart."""

    MMTYPE = 0xA01D
    mstatus: Status8 = 0


class VsWrModReq(Vs, frozen=True, kw_only=True):
    """Write a part of a module (firmware or PIB) into the modem's memory; VS_MOD_NVM keeps it."""

    MMTYPE = 0xA020
    module_id: Annotated[int, MmeLayout("B", pad=1)] = MODULE_PIB
    length: U16
    offset: U32
    checksum: U32
    data: Annotated[bytes, Sized("length", shown="secret")]


class VsWrModCnf(Vs, frozen=True, kw_only=True):
    """Confirmation of the write."""

    MMTYPE = 0xA021
    mstatus: Status8 = 0
    module_id: Annotated[int, MmeLayout("B", pad=1)] = MODULE_PIB
    length: U16
    offset: U32


class VsRdModReq(Vs, frozen=True, kw_only=True):
    """Read a part of a module (firmware or PIB)."""

    MMTYPE = 0xA024
    module_id: U8 = MODULE_PIB
    access: U8 = 0
    length: U16
    offset: U32
    secret: Annotated[bytes, MmeLayout("16s", shown="secret")] = bytes(16)


class VsRdModCnf(Vs, frozen=True, kw_only=True):
    """The part. A PIB contains keys, so it is not displayed."""

    MMTYPE = 0xA025
    mstatus: Annotated[int, MmeLayout("B", pad=3, words=("success",))] = 0
    module_id: Annotated[int, MmeLayout("B", pad=1)] = MODULE_PIB
    length: U16
    offset: U32
    checksum: U32
    data: Annotated[bytes, Sized("length", shown="secret")]


class VsModNvmReq(Vs, frozen=True, kw_only=True):
    """Make a written module permanent."""

    MMTYPE = 0xA028
    module_id: U8 = MODULE_PIB


class VsModNvmCnf(Vs, frozen=True, kw_only=True):
    """Whether it is permanent."""

    MMTYPE = 0xA029
    mstatus: Status8 = 0
    module_id: U8 = MODULE_PIB


class VsNwInfoReq(Vs, frozen=True, kw_only=True):
    """Query of the networks and their stations."""

    MMTYPE = 0xA038


class PlcStation(RecordType, frozen=True, kw_only=True):
    """Another modem of a network: `bda` is an address behind it, rates are averages in Mbit/s."""

    mac: Mac
    tei: U8
    bda: Mac
    tx: U8
    rx: U8


class PlcNetwork(RecordType, frozen=True, kw_only=True):
    """A network that the modem is in."""

    nid: Nid
    snid: U8
    tei: U8
    role: Role
    cco_mac: Mac
    cco_tei: U8
    num_stas: U8
    stations: Annotated[tuple[PlcStation, ...], Items("num_stas")]


class VsNwInfoCnf(Vs, frozen=True, kw_only=True):
    """The networks."""

    MMTYPE = 0xA039
    num_avlns: U8
    networks: Annotated[tuple[PlcNetwork, ...], Items("num_avlns")]


class VsNwInfoV1Req(Vs, frozen=True, kw_only=True):
    """As VS_NW_INFO.REQ, for an answer with wider rates."""

    MMTYPE = 0xA038
    MMV = 1


class StationV1(RecordType, frozen=True, kw_only=True):
    """Another modem of a network; see Station."""

    mac: Mac
    tei: Annotated[int, MmeLayout("B", pad=3)]
    bda: Mac
    tx: U16
    coupling: Annotated[int, MmeLayout("B", pad=1)] = 0
    rx: Annotated[int, MmeLayout("H", pad=2)]


class NetworkV1(RecordType, frozen=True, kw_only=True):
    """A network that the modem is in."""

    nid: Annotated[bytes, MmeLayout("7s", pad=2)]
    snid: U8
    tei: Annotated[int, MmeLayout("B", pad=4)]
    role: Role
    cco_mac: Mac
    cco_tei: Annotated[int, MmeLayout("B", pad=3)]
    num_stas: Annotated[int, MmeLayout("B", pad=5)]
    stations: Annotated[tuple[StationV1, ...], Items("num_stas")]


class VsNwInfoV1Cnf(Vs, frozen=True, kw_only=True):
    """The networks; `data_len` bytes follow it."""

    MMTYPE = 0xA039
    MMV = 1
    sub_version: Annotated[int, MmeLayout("B", pad=1)] = 0
    data_len: Annotated[int, MmeLayout("H", pad=1)]
    num_avlns: U8
    networks: Annotated[tuple[NetworkV1, ...], Items("num_avlns")]


class VsSetKeyReq(Vs, frozen=True, kw_only=True):
    """Qualcomm's own way to set a key; CM_SET_KEY is used instead."""

    MMTYPE = 0xA050
    eks: U8
    nmk: Annotated[bytes, MmeLayout("16s", shown="secret")]
    peks: U8
    rda: Mac
    dak: Annotated[bytes, MmeLayout("16s", shown="secret")]


class VsSetKeyCnf(Vs, frozen=True, kw_only=True):
    """Whether it is set."""

    MMTYPE = 0xA051
    mstatus: Status8 = 0


class VsHostActionInd(Vs, frozen=True, kw_only=True):
    """The modem requests an action of its host: to load firmware, or to handle a reset."""

    MMTYPE = 0xA062
    action: U8


class VsOpAttributesReq(Vs, frozen=True, kw_only=True):
    """Query of chip and firmware."""

    MMTYPE = 0xA068
    cookie: U32 = 0
    report: U8 = 0


class VsOpAttributesCnf(Vs, frozen=True, kw_only=True):
    """Chip and firmware. `length` bytes follow it, of which later firmware may have more than are parsed here."""

    MMTYPE = 0xA069
    mstatus: Status16 = 0
    cookie: U32 = 0
    report: U8 = 0
    length: U16 = 118
    platform: Text16
    device: Text16
    major: U32
    minor: U32
    composite: U32
    sustaining: U32
    build: U32
    date: Text8
    release: Text12
    dram_type: Annotated[int, MmeLayout("B", pad=1)] = 0
    line_frequency: Annotated[int, MmeLayout("B", words=("unknown", "50 Hz", "60 Hz"))] = 0


class VsFacDefaultsReq(Vs, frozen=True, kw_only=True):
    """Reset to factory defaults."""

    MMTYPE = 0xA07C


class VsFacDefaultsCnf(Vs, frozen=True, kw_only=True):
    """Whether it is done."""

    MMTYPE = 0xA07D
    mstatus: Status8 = 0


class VsModuleOperationReq(Vs, frozen=True, kw_only=True):
    """Read a part of a module: QCA7000 and later (`operation` 0: from memory, 1: from flash)."""

    MMTYPE = 0xA0B0
    reserved: U32 = 0
    num_op_data: U8 = 1
    operation: U16 = 0
    op_length: Annotated[int, MmeLayout("H", pad=4)] = 18
    module_id: U16 = MODULE_PARAMETERS
    module_sub_id: U16 = 0
    length: U16
    offset: U32


class VsModuleOperationCnf(Vs, frozen=True, kw_only=True):
    """The part. A PIB contains keys, so it is not displayed."""

    MMTYPE = 0xA0B1
    mstatus: Status16 = 0
    error: Annotated[int, MmeLayout("H", pad=4)] = 0
    num_op_data: U8 = 1
    operation: U16 = 0
    op_length: Annotated[int, MmeLayout("H", pad=4)] = 18
    module_id: U16 = MODULE_PARAMETERS
    module_sub_id: U16 = 0
    length: U16
    offset: U32
    data: Annotated[bytes, Sized("length", shown="secret")]


class VsPlLinkStatusReq(Vs, frozen=True, kw_only=True):
    """Query of the link status."""

    MMTYPE = 0xA0B8


class VsPlLinkStatusCnf(Vs, frozen=True, kw_only=True):
    """`mstatus` 0 is success; `link_status` 1 is up."""

    MMTYPE = 0xA0B9
    mstatus: Status8 = 0
    link_status: Annotated[int, MmeLayout("B", words=("down", "up"))]


class VsAttenuationCharacteristicsInd(Vs, frozen=True, kw_only=True):
    """AR7420: the counterpart of CM_ATTEN_PROFILE.IND. The layout is from one public dissector, unverified."""

    MMTYPE = 0xA14E
    pev_mac: Mac
    num_groups: U8
    carriers_per_group: Annotated[int, MmeLayout("B", pad=7)] = 0
    aag: Annotated[bytes, Sized("num_groups")]


class SimBeaconInd(Mme, frozen=True, kw_only=True):
    """Between simulated modems, in place of beacons: own address, host, and network. Answer if `ask`."""

    MMTYPE = 0xA7FE
    MMV = 0
    OUI = SIMULATED
    modem: Mac
    host: Mac
    nid: Nid
    ask: U8 = 0


MESSAGES: Final[tuple[type[Mme], ...]] = (
    VsSwVerReq,
    VsSwVerCnf,
    VsRsDevReq,
    VsRsDevCnf,
    VsWrModReq,
    VsWrModCnf,
    VsRdModReq,
    VsRdModCnf,
    VsModNvmReq,
    VsModNvmCnf,
    VsNwInfoReq,
    VsNwInfoCnf,
    VsNwInfoV1Req,
    VsNwInfoV1Cnf,
    VsSetKeyReq,
    VsSetKeyCnf,
    VsHostActionInd,
    VsOpAttributesReq,
    VsOpAttributesCnf,
    VsFacDefaultsReq,
    VsFacDefaultsCnf,
    VsModuleOperationReq,
    VsModuleOperationCnf,
    VsPlLinkStatusReq,
    VsPlLinkStatusCnf,
    VsAttenuationCharacteristicsInd,
    SimBeaconInd,
)
"""All declared ones."""


# -- Management messages of Lumissil's modems (CG5317), as far as public tools show them. Declarations only ----------

LUMISSIL: Final = bytes.fromhex("0016e8")
"""The OUI."""


class Nscm(Mme, frozen=True, kw_only=True):
    """A message of Lumissil. Its header's version is unclear; 0 is sent."""

    MMV = 0
    OUI = LUMISSIL
    version: Annotated[int, MmeLayout("H", pad=4)] = 0
    request_id: Annotated[int, MmeLayout("B", pad=12)] = 0


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
    link_status: Annotated[int, MmeLayout("B", words=("down", "up"))]


LUMISSIL_MESSAGES: Final[tuple[type[Mme], ...]] = (
    NscmGetVersionReq,
    NscmGetVersionCnf,
    NscmResetDeviceReq,
    NscmGetDLinkStatusReq,
    NscmGetDLinkStatusCnf,
)
"""All declared ones."""
