"""Our frames, read by others: scapy and Wireshark find the values in every field of every message that they know."""

import logging
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.packages import need
from tests.slac.strategies import messages, structs
from v2g.slac import mme, vendor
from v2g.slac.layout import Mme
from v2g.slac.mme import MmeFrame

logging.getLogger("scapy").setLevel(logging.ERROR)  # it warns of machines without IPv6 routes

from scapy.contrib import homepluggp  # noqa: E402, F401 - binds the layers
from scapy.layers.l2 import Ether  # noqa: E402
from scapy.utils import wrpcap  # noqa: E402

_A, _B = bytes.fromhex("020000000201"), bytes.fromhex("020000000101")

_APP = {"application_type": "ApplicationType", "security_type": "SecurityType"}
_SET_KEY = {"my_nonce": "MyNonce", "your_nonce": "YourNonce", "pid": "PID", "pmn": "ProtoMessNumber",
            "cco_capability": "CCoCapability"}  # fmt: skip
_MODULE = {"module_id": "ModuleID", "length": "DataLen", "offset": "Offset", "checksum": "checksum"}
_OPERATION = {"num_op_data": "NumOpData", "operation": "operation", "op_length": "OPDataLength",
              "module_id": "ModuleID", "module_sub_id": "ModuleSubID", "length": "ReadDataLen",
              "offset": "ReadOffset"}  # fmt: skip
_MATCH = {"pev_id": "EVID", "pev_mac": "EVMAC", "evse_id": "EVSEID", "evse_mac": "EVSEMAC", "run_id": "RunID"}

SCAPY: dict[type[Mme], tuple[str, dict[str, str]]] = {
    mme.CmSlacParmReq: ("CM_SLAC_PARM_REQ", {"run_id": "RunID", **_APP}),
    mme.CmSlacParmCnf: (
        "CM_SLAC_PARM_CNF",
        {"m_sound_target": "MSoundTargetMAC", "num_sounds": "NumberMSounds", "time_out": "TimeOut",
         "resp_type": "ResponseType", "forwarding_sta": "ForwardingSTA", "run_id": "RunID", **_APP},
    ),
    mme.CmStartAttenCharInd: (
        "CM_START_ATTEN_CHAR_IND",
        {"num_sounds": "NumberOfSounds", "time_out": "TimeOut", "resp_type": "ResponseType",
         "forwarding_sta": "ForwardingSTA", "run_id": "RunID", **_APP},
    ),
    mme.CmMnbcSoundInd: (
        "CM_MNBC_SOUND_IND",
        {"sender_id": "SenderID", "cnt": "Countdown", "run_id": "RunID", "rnd": "RandomValue", **_APP},
    ),
    mme.CmAttenProfileInd: (
        "CM_ATTENUATION_CHARACTERISTICS_MME",
        {"pev_mac": "EVMACAddress", "num_groups": "NumberOfGroups", "aag": "Groups"},
    ),
    vendor.VsAttenuationCharacteristicsInd: (
        "VS_ATTENUATION_CHARACTERISTICS_MME",
        {"pev_mac": "EVMACAddress", "num_groups": "NumberOfGroups",
         "carriers_per_group": "NumberOfCarrierPerGroupe", "aag": "Groups"},
    ),
    mme.CmAttenCharInd: (
        "CM_ATTEN_CHAR_IND",
        {"source_address": "SourceAdress", "run_id": "RunID", "source_id": "SourceID", "resp_id": "ResponseID",
         "num_sounds": "NumberOfSounds", "num_groups": "NumberOfGroups", "aag": "Groups", **_APP},
    ),
    mme.CmAttenCharRsp: (
        "CM_ATTEN_CHAR_RSP",
        {"source_address": "SourceAdress", "run_id": "RunID", "source_id": "SourceID", "resp_id": "ResponseID",
         "result": "Result", **_APP},
    ),
    mme.CmSlacMatchReq: ("CM_SLAC_MATCH_REQ", {"mvf_length": "MatchVariableFieldLen", **_MATCH, **_APP}),
    mme.CmSlacMatchCnf: (
        "CM_SLAC_MATCH_CNF",
        {"mvf_length": "MatchVariableFieldLen", "nid": "NetworkID", "nmk": "NMK", **_MATCH, **_APP},
    ),
    mme.CmSetKeyReq: (
        "CM_SET_KEY_REQ",
        {"key_type": "KeyType", "nid": "NetworkID", "new_eks": "NewEncKeySelect", "nmk": "NewKey", **_SET_KEY},
    ),
    mme.CmSetKeyCnf: ("CM_SET_KEY_CNF", {"result": "Result", **_SET_KEY}),
    vendor.VsRdModReq: ("ReadModuleDataRequest", {"module_id": "ModuleID", "length": "Length", "offset": "Offset"}),
    vendor.VsRdModCnf: ("ReadModuleDataConfirmation", {"mstatus": "Status", "data": "ModuleData", **_MODULE}),
    vendor.VsWrModReq: ("WriteModuleDataRequest", {"data": "ModuleData", **_MODULE}),
    vendor.VsModuleOperationReq: ("ModuleOperationRequest", _OPERATION),
    vendor.VsModuleOperationCnf: (
        "ModuleOperationConfirmation",
        {"mstatus": "Status", "error": "ErrorCode", "data": "ModuleData", **_OPERATION},
    ),
    vendor.VsRsDevReq: ("ResetDeviceRequest", {}),
}  # fmt: skip
"""Our messages in scapy's names. It reads the protocol run number of CM_SET_KEY big endian, alone; and of networks and
firmware versions (VS_NW_INFO, VS_SW_VER) it expects counts and padding elsewhere than modems send them."""


def _scapy_value(packet: Any, name: str) -> Any:
    """Return a field in our terms."""
    while packet and name not in packet.fields and "VariableField" in packet.fields:
        packet = packet.fields["VariableField"]
    value = packet.getfieldval(name)
    if name == "Groups":
        return bytes(each.group for each in value)
    if isinstance(value, str) and value.count(":") == 5:
        return bytes.fromhex(value.replace(":", ""))
    return value


@given(messages(*SCAPY))
def test_scapy_reads_what_we_wrote(message: Mme) -> None:
    layer, names = SCAPY[type(message)]
    if isinstance(message, vendor.VsModuleOperationReq | vendor.VsModuleOperationCnf):
        message = type(message)(
            **{name: getattr(message, name) for name in message.__struct_fields__} | {"operation": 0}
        )
    packet = Ether(mme.encode(MmeFrame(_A, _B, message)))
    (found,) = [each for each in _layers(packet) if type(each).__name__ == layer]
    for ours, theirs in names.items():
        value, read = getattr(message, ours), _scapy_value(found, theirs)
        if isinstance(value, bytes) and isinstance(read, int):
            read = read.to_bytes(len(value), "big")
        if isinstance(value, bytes) and len(value) == 17 and isinstance(read, bytes):
            value, read = value.rstrip(b"\0"), read.rstrip(b"\0")  # it shows identifiers without their zeros
        assert read == value, ours


def _layers(packet: Any) -> list[Any]:
    found = []
    while packet:
        found.append(packet)
        packet = packet.payload
    return found


_GP = "homeplug_av.gp."
_PARM, _CHAR, _SLAC_MATCH = f"{_GP}cm_slac_parm.", f"{_GP}cm_atten_char.", f"{_GP}cm_slac_match."
_START, _SOUND, _VALIDATE = f"{_GP}cm_start_atten_char.", f"{_GP}cm_mnbc_sound.", f"{_GP}cm_validate."
_NW, _INFO, _ATTRIBUTES = "homeplug_av.nw_info.", "homeplug_av.nw_info_cnf.", "homeplug_av.op_attr_cnf."
_NONCES = {"my_nonce": f"{_NW}my_nonce", "your_nonce": f"{_NW}your_nonce", "pid": f"{_NW}pid", "prn": f"{_NW}prn",
           "pmn": f"{_NW}pmn"}  # fmt: skip

TSHARK: dict[type[Mme], dict[str, str]] = {
    mme.CmSlacParmReq: {"run_id": f"{_PARM}runid", "application_type": f"{_PARM}apptype"},
    mme.CmSlacParmCnf: {
        "m_sound_target": f"{_PARM}sound_target", "num_sounds": f"{_PARM}sound_count", "time_out": f"{_PARM}time_out",
        "resp_type": f"{_PARM}resptype", "forwarding_sta": f"{_PARM}forwarding_sta", "run_id": f"{_PARM}runid",
    },
    mme.CmStartAttenCharInd: {
        "num_sounds": f"{_START}sounds_count", "time_out": f"{_START}time_out", "resp_type": f"{_START}resptype",
        "forwarding_sta": f"{_START}sound_forwarding_sta", "run_id": f"{_START}runid",
    },
    mme.CmMnbcSoundInd: {
        "sender_id": f"{_SOUND}sender_id", "cnt": f"{_SOUND}countdown", "run_id": f"{_SOUND}runid",
        "rnd": f"{_SOUND}rnd",
    },
    mme.CmAttenProfileInd: {
        "pev_mac": f"{_GP}cm_atten_profile_ind.pev_mac", "num_groups": f"{_GP}cm_atten_profile_ind.groups_count",
        "aag": f"{_GP}cm_atten_profile_ind.aag",
    },
    mme.CmAttenCharInd: {
        "source_address": f"{_CHAR}source_mac", "run_id": f"{_CHAR}runid", "source_id": f"{_CHAR}source_id",
        "resp_id": f"{_CHAR}resp_id", "num_sounds": f"{_CHAR}sounds_count", "num_groups": f"{_CHAR}groups_count",
        "aag": f"{_CHAR}aag",
    },
    mme.CmAttenCharRsp: {
        "source_address": f"{_CHAR}source_mac", "run_id": f"{_CHAR}runid", "source_id": f"{_CHAR}source_id",
        "resp_id": f"{_CHAR}resp_id", "result": f"{_CHAR}result",
    },
    mme.CmValidateReq: {
        "signal_type": f"{_VALIDATE}signaltype", "timer": f"{_VALIDATE}timer", "result": f"{_VALIDATE}result",
    },
    mme.CmValidateCnf: {
        "signal_type": f"{_VALIDATE}signaltype", "toggle_num": f"{_VALIDATE}togglenum", "result": f"{_VALIDATE}result",
    },
    mme.CmSlacMatchReq: {
        "mvf_length": f"{_SLAC_MATCH}length", "pev_id": f"{_SLAC_MATCH}pev_id", "pev_mac": f"{_SLAC_MATCH}pev_mac",
        "evse_id": f"{_SLAC_MATCH}evse_id", "evse_mac": f"{_SLAC_MATCH}evse_mac", "run_id": f"{_SLAC_MATCH}runid",
    },
    mme.CmSlacMatchCnf: {
        "mvf_length": f"{_SLAC_MATCH}length", "pev_id": f"{_SLAC_MATCH}pev_id", "pev_mac": f"{_SLAC_MATCH}pev_mac",
        "evse_id": f"{_SLAC_MATCH}evse_id", "evse_mac": f"{_SLAC_MATCH}evse_mac", "run_id": f"{_SLAC_MATCH}runid",
        "nid": f"{_SLAC_MATCH}nid", "nmk": f"{_SLAC_MATCH}nmk",
    },
    mme.CmSetKeyReq: {
        "key_type": f"{_NW}key_type", "cco_capability": f"{_NW}cco_cap", "nid": f"{_NW}nid", "new_eks": f"{_NW}peks",
        "nmk": "homeplug_av.cm_set_key_req.nw_key", **_NONCES,
    },
    mme.CmSetKeyCnf: {"result": "homeplug_av.cm_set_key_cnf.result", "cco_capability": f"{_NW}cco_cap", **_NONCES},
    mme.CmGetKeyReq: {"request_type": "homeplug_av.cm_get_key_req.type", "key_type": f"{_NW}key_type",
                      "nid": f"{_NW}nid", "my_nonce": f"{_NW}my_nonce"},
    mme.CmGetKeyCnf: {"result": "homeplug_av.cm_get_key_cnf.result", "nid": f"{_NW}nid", **_NONCES},
    vendor.VsSwVerCnf: {
        "mstatus": "homeplug_av.get_sw_cnf.status", "device_id": "homeplug_av.get_sw_cnf.dev_id",
        "length": "homeplug_av.get_sw_cnf.ver_len", "version": "homeplug_av.get_sw_cnf.ver_str",
    },
    vendor.VsRsDevCnf: {"mstatus": "homeplug_av.rs_dev_cnf.status"},
    vendor.VsNwInfoCnf: {"num_avlns": f"{_NW}num_avlns", "networks.nid": f"{_NW}nid", "networks.snid": f"{_NW}snid",
                         "networks.role": f"{_NW}sta_role", "networks.cco_mac": f"{_INFO}cco_mac",
                         "networks.num_stas": f"{_INFO}num_stas", "networks.stations.mac": f"{_INFO}sta_info.da",
                         "networks.stations.bda": f"{_INFO}sta_indo.bda",
                         "networks.stations.tx": f"{_INFO}sta_indo.phy_dr_tx",
                         "networks.stations.rx": f"{_INFO}sta_indo.phy_dr_rx"},
    vendor.VsOpAttributesReq: {"cookie": "homeplug_av.op_attr.cookie", "report": "homeplug_av.op_attr.rep_type"},
    vendor.VsOpAttributesCnf: {
        "mstatus": f"{_ATTRIBUTES}status", "cookie": "homeplug_av.op_attr.cookie", "platform": f"{_ATTRIBUTES}data.hw",
        "device": f"{_ATTRIBUTES}data.sw", "major": f"{_ATTRIBUTES}data.sw_major",
        "minor": f"{_ATTRIBUTES}data.sw_minor", "date": f"{_ATTRIBUTES}data.sw_date",
    },
    vendor.VsRdModCnf: {"mstatus": "homeplug_av.rd_mod_cnf.status"},
    vendor.VsSetKeyReq: {"eks": "homeplug_av.set_key_req.eks", "nmk": "homeplug_av.set_key_req.nmk",
                         "rda": "homeplug_av.set_key_req.rda", "dak": "homeplug_av.set_key_req.dak"},
}  # fmt: skip
"""Our messages in Wireshark's names."""


_VERSION_FRAME = 88
"""Bytes of VS_SW_VER.CNF with the 64 that firmware reserves for its version, which Wireshark wants to see."""


_AS_USED = {"signal_type": 0, "key_type": 1, "new_eks": 1, "eks": 1, "pid": 4, "result": 1, "cco_capability": 1,
            "request_type": 0, "mstatus": 1}  # fmt: skip
"""Fields of which Wireshark reads a few bits, or whose other values make it stop reading."""


def _samples(count: int) -> list[Mme]:
    """Draw some of each message."""
    found: list[Mme] = []

    @settings(max_examples=count, database=None, derandomize=True, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.tuples(*(structs(kind) for kind in TSHARK)))
    def draw(drawn: tuple[Mme, ...]) -> None:
        for each in drawn:
            used = {name: value for name, value in _AS_USED.items() if name in each.__struct_fields__}
            if isinstance(each, vendor.VsNwInfoCnf):  # it reads one network
                networks = tuple(msgspec.structs.replace(network, role=2) for network in each.networks[:1])
                used = {"networks": networks, "num_avlns": len(networks)}
            found.append(msgspec.structs.replace(each, **used))

    draw()
    return found


def _dissect(path: Path, frames: list[bytes]) -> list[dict[str, str]]:
    """Return what Wireshark sees in each frame: field name to its values, comma between them."""
    wrpcap(str(path), [Ether(frame) for frame in frames])
    names = sorted({"homeplug_av.mmhdr.mmtype", *(name for fields in TSHARK.values() for name in fields.values())})
    options = [part for name in names for part in ("-e", name)]
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [dict(zip(names, line.split("\t"), strict=True)) for line in done.stdout.split("\n")[:-1]]


def _flat(message: Any, path: str) -> list[Any]:
    head, _, rest = path.partition(".")
    value = getattr(message, head)
    return [each for item in value for each in _flat(item, rest)] if rest else [value]


def _same(value: Any, text: str) -> bool:
    if isinstance(value, int):
        return int(text, 0) == value
    if text.startswith("0x"):  # nonces
        return int(text, 16).to_bytes(len(value), "little") == value
    in_hex = text.replace(":", "").replace(" ", "") == value.hex()
    return in_hex or text == value.split(b"\0")[0].decode("ascii", "replace")


@pytest.mark.long
@pytest.mark.interop
def test_wireshark_reads_what_we_wrote(tmp_path: Path) -> None:
    need("tshark", program="tshark")
    samples = _samples(25)
    frames = [mme.encode(MmeFrame(_A, _B, each)).ljust(_VERSION_FRAME, b"\0") for each in samples]
    seen = _dissect(tmp_path / "frames.pcap", frames)
    for message, fields in zip(samples, seen, strict=True):
        for ours, theirs in TSHARK[type(message)].items():
            values = _flat(message, ours)
            if ours == "aag":
                values = list(values[0])
            texts = fields[theirs].split(",") if fields[theirs] else []
            if isinstance(values[0] if values else 0, bytes) and len(values) == 1:
                texts = [fields[theirs]]
            assert len(texts) == len(values), (message, ours, fields[theirs])
            assert all(map(_same, values, texts)), (message, ours, texts)
