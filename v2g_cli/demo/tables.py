"""Tables of the programs' configurations, and of the simulated medium."""

from collections.abc import Iterable, Sequence
from typing import Final

PROVISIONING: Final = """
[provisioning]
pool = "file:pool?pin-source=file:pool.secret"
chain = "pki/cps/chain.pem"
key = "pki/cps/leaf.key"
oem_roots = [{oem_roots}]
"""

PROVISIONING_2: Final = """\
oem_sub_cas = ["pki-2/oem/sub1.pem", "pki-2/oem/sub2.pem"]

[provisioning.iso15118_2]
chain = "pki-2/cps/chain.pem"
key = "pki-2/cps/leaf.key"
"""
"""What follows for vehicles of ISO 15118-2."""


def evcc_id(number: int) -> str:
    """Return the EVCCID of the vehicle at an EVSE."""
    return f"WMIV2GENGINE{number:07}X"


def emaid(number: int) -> str:
    """Return the EMAID of the vehicle at an EVSE."""
    return f"DEV2GC{number:08}"


def token_tables(numbers: Iterable[int]) -> str:
    """Return the back end's tables of the contracts of some vehicles."""
    return "".join(f'[[tokens]]\nid_token = "{emaid(number)}"\n' for number in numbers)


def evse_tables(sdp_ports: Sequence[int]) -> str:
    """Return the tables of a charger's EVSEs; one alone needs none."""
    if len(sdp_ports) == 1:
        return ""
    first = '[[evses]]\nevse_id = "DEV2GE00001*1"\n'
    return first + "".join(
        f"""
[[evses]]
evse_id = "DEV2GE00001*{number}"
sdp = {{ port = {port} }}
meter = {{ chain = "pki/meter-{number}/chain.pem", key = "pki/meter-{number}/leaf.key" }}
"""
        for number, port in enumerate(sdp_ports[1:], 2)
    )


def medium_table(evses: int) -> str:
    """Return a medium in which each vehicle is close to its own EVSE, and behind a wall from the others."""
    pairs = (("evse-1", "ev"), *((f"evse-{number}", f"ev-{number}") for number in range(2, evses + 1)))
    return "other_db = 40\n" + "".join(
        f'\n[[pair]]\nstations = ["{evse}", "{vehicle}"]\ndb = 0\n' for evse, vehicle in pairs
    )


CUT: Final = "other_db = 127\n"
"""Configuration of the medium when the powerline is cut."""

POLL_S: Final = {"secc": 0.2, "evcc": 0.4}
"""How often modems are queried for the link where it will be lost: a simulated one needs ten queries."""

CONTRACT: Final = """
[contract]
chain = "{tree}/contract/chain.pem"
key = "{tree}/contract/leaf.key"
"""

FETCHED: Final = """
[provisioning]
chain = "{tree}/provisioning/chain.pem"
key = "{tree}/provisioning/leaf.key"
store = "contracts"
mo_roots = ["{tree}/mo/root.pem"]
"""

APP: Final = "APP-0001"
"""Id token of a driver's app."""
APP_TABLE: Final = f"""
[[tokens]]
id_token = "{APP}"
type = "Central"
"""
"""The back end's table of that token."""

CHAIN_2: Final = """
[[tls.other_chains]]
chain = "pki-2/secc/chain.pem"
key = "pki-2/secc/leaf.key"
ocsp = "pki-2/secc/ocsp.der"
"""
"""The charger's chain for vehicles of ISO 15118-2."""

_OPERATOR: Final = "CPO"
_PROVIDER: Final = "V2G"
"""As contracts of demos say, such as DEV2GC00000001."""

PLACE: Final = {
    "id": "depot", "address": "Ladestr. 1", "city": "Berlin", "country": "DEU", "latitude": "52.52000",
    "longitude": "13.40500", "time_zone": "Europe/Berlin", "evses": [{
        "station_id": "CS-V2G-0001", "evse_id": "DE*CPO*E1",
        "connectors": [{"standard": "IEC_62196_T2_COMBO", "format": "CABLE", "power_type": "DC", "max_voltage": 1000,
                        "max_amperage": 200}],
    }],
}  # fmt: skip
"""Where the charger is, for partners."""


def roaming_table(port: int, role: str) -> str:
    """Return the table of a back end at a port, in its role."""
    party = _OPERATOR if role == "CPO" else _PROVIDER
    return f"""[roaming]
url = "https://127.0.0.1:{port}"
country_code = "DE"
party_id = "{party}"
name = "{"The charger's operator" if role == "CPO" else "The driver's provider"}"
roles = ["{role}"]
allow = ["127.0.0.1"]
roots = ["pki/csms/root.pem"]
"""
