"""Tables of the programs' configurations, and of the simulated medium."""

from typing import Final

PROVISIONING: Final = """
[provisioning]
pool = "file:pool?pin-source=file:pool.secret"
chain = "pki/cps/chain.pem"
key = "pki/cps/leaf.key"
oem_roots = ["pki/oem/root.pem", "pki/v2g/root.pem"]
"""

SECOND_EVCC_ID: Final = "WMIV2GENGINE0000002X"
SECOND_EMAID: Final = "DEV2GC00000002"
SECOND_TOKEN: Final = f"""[[tokens]]
id_token = "{SECOND_EMAID}"
"""
SECOND_EVSE: Final = """
[[evses]]
evse_id = "DEV2GE00001*1"

[[evses]]
evse_id = "DEV2GE00001*2"
sdp = {{ port = {ports[1]} }}
meter = {{ chain = "pki/meter-2/chain.pem", key = "pki/meter-2/leaf.key" }}
"""
NEIGHBOURS: Final = """other_db = 40

[[pair]]
stations = ["evse-1", "ev"]
db = 0

[[pair]]
stations = ["evse-2", "ev-2"]
db = 0
"""
"""Each vehicle is close to its own charger, and behind a wall from the other."""

CUT: Final = "other_db = 127\n"
"""Configuration of the medium when the powerline is cut."""

POLL_S: Final = {"secc": 0.2, "evcc": 0.4}
"""How often modems are queried for the link where it will be lost: a simulated one needs ten queries."""

CONTRACT: Final = """
[contract]
chain = "pki/contract/chain.pem"
key = "pki/contract/leaf.key"
"""

FETCHED: Final = """
[provisioning]
chain = "pki/provisioning/chain.pem"
key = "pki/provisioning/leaf.key"
store = "contracts"
mo_roots = ["pki/mo/root.pem"]
"""
