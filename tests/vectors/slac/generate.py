"""Writes pyslac.jsonl; needs `pyslac` 0.8.3, which is no dependency of this project. See README.md."""

import json
from pathlib import Path

from pyslac import messages
from pyslac.layer_2_headers import EthernetHeader, HomePlugHeader

EVSE, PEV, MODEM = bytes.fromhex("020000000101"), bytes.fromhex("020000000201"), bytes.fromhex("00b052000001")
ALL, RUN = b"\xff" * 6, bytes.fromhex("1122334455667788")
NID, NMK = bytes.fromhex("b0f2e695666b03"), bytes.fromhex("50d3e4933f855b7040784df815aa8db7")
AAG = list(range(1, 59))
SOUND = 0x0102030405060708090A0B0C0D0E0F10

VECTORS = [
    ("CmSetKeyReq", MODEM, EVSE, 0x6008, messages.SetKeyReq(nid=NID, new_key=NMK), {"nid": NID, "nmk": NMK}),
    ("CmSlacParmReq", ALL, PEV, 0x6064, messages.SlacParmReq(run_id=RUN), {"run_id": RUN}),
    (
        "CmSlacParmCnf", PEV, EVSE, 0x6065, messages.SlacParmCnf(forwarding_sta=PEV, run_id=RUN),
        {"forwarding_sta": PEV, "run_id": RUN},
    ),
    (
        "CmStartAttenCharInd", ALL, PEV, 0x606A,
        messages.StartAtennChar(num_sounds=10, time_out=6, forwarding_sta=PEV, run_id=RUN),
        {"forwarding_sta": PEV, "run_id": RUN},
    ),
    (
        "CmMnbcSoundInd", ALL, PEV, 0x6076, messages.MnbcSound(cnt=7, run_id=RUN, rnd=SOUND),
        {"cnt": 7, "run_id": RUN, "rnd": SOUND.to_bytes(16, "big")},
    ),
    (
        "CmAttenProfileInd", EVSE, MODEM, 0x6086, messages.AttenProfile(pev_mac=PEV, aag=AAG),
        {"pev_mac": PEV, "aag": bytes(AAG)},
    ),
    (
        "CmAttenCharInd", PEV, EVSE, 0x606E,
        messages.AtennChar(source_address=PEV, run_id=RUN, num_sounds=10, num_groups=58, aag=AAG),
        {"source_address": PEV, "run_id": RUN, "num_sounds": 10, "aag": bytes(AAG)},
    ),
    (
        "CmAttenCharRsp", EVSE, PEV, 0x606F,
        messages.AtennCharRsp(source_address=PEV, run_id=RUN, source_id=0, resp_id=0, result=0),
        {"source_address": PEV, "run_id": RUN},
    ),
    (
        "CmSlacMatchReq", EVSE, PEV, 0x607C, messages.MatchReq(pev_mac=PEV, evse_mac=EVSE, run_id=RUN),
        {"pev_mac": PEV, "evse_mac": EVSE, "run_id": RUN},
    ),
    (
        "CmSlacMatchCnf", PEV, EVSE, 0x607D,
        messages.MatchCnf(pev_mac=PEV, evse_mac=EVSE, run_id=RUN, nid=NID, nmk=NMK),
        {"pev_mac": PEV, "evse_mac": EVSE, "run_id": RUN, "nid": NID, "nmk": NMK},
    ),
]  # fmt: skip

with Path(__file__).with_name("pyslac.jsonl").open("w") as out:
    for name, destination, source, mmtype, message, fields in VECTORS:
        frame = (
            EthernetHeader(destination, source).pack_big()
            + HomePlugHeader(mmtype).pack_big()
            + bytes(message.pack_big())
        )
        record = {
            "name": name,
            "fields": {k: v.hex() if isinstance(v, bytes) else v for k, v in fields.items()},
            "frame": frame.ljust(60, b"\0").hex(),
        }
        out.write(json.dumps(record) + "\n")
