"""Scenarios of `v2g demo` of ISO 15118-2 and DIN 70121."""

from typing import Final

from v2g_cli.demo.scenario import CHARGE, Expected, Scenario

_ISO2: Final = "ISO 15118-2"
_DIN: Final = "DIN 70121"
_DC: Final = '[services]\nenergy = ["DC"]\n'
_CARD: Final = "[authorization]\nallow_eim = true\n"


def _chosen(name: str) -> Expected:
    return ("secc", "session", "protocol_negotiated", {"protocol": name})


EDITIONS: Final[tuple[Scenario, ...]] = (
    Scenario(
        name="din",
        about="a vehicle of DIN 70121: direct current without TLS, started by the back end (EIM)",
        ending="charged",
        offers=("din",),
        serves=("20", "2", "din"),
        without_tls=True,
        remote_start=True,
        charger='services = [6, 2]\nauthorization = ["PnC", "EIM"]',
        evcc_tables=_DC + _CARD,
        program=CHARGE,
        sees=(_chosen(_DIN),),
    ),
    Scenario(
        name="iso2-ac",
        about="a vehicle of ISO 15118-2: alternating current without TLS, started by the back end (EIM)",
        ending="charged",
        offers=("2",),
        serves=("20", "2"),
        without_tls=True,
        remote_start=True,
        charger='services = [5, 1]\nauthorization = ["PnC", "EIM"]',
        secc_tables='[hardware]\nkind = "ac"\n',
        evcc_tables='[services]\nenergy = ["AC"]\n' + _CARD,
        program=CHARGE,
        sees=(_chosen(_ISO2),),
    ),
    Scenario(
        name="iso2-pnc",
        about="a vehicle of ISO 15118-2: direct current by plug and charge, over TLS 1.2",
        ending="charged",
        offers=("2",),
        serves=("20", "2"),
        evcc_tables=_DC,
        program=CHARGE,
        sees=(_chosen(_ISO2), ("evcc", "tls", "connected", {"version": "TLSv1.2"})),
    ),
    Scenario(
        name="iso2-install",
        about="a vehicle of ISO 15118-2 that has only a provisioning certificate fetches its contract and pays with it",
        ending="charged",
        install=True,
        offers=("2",),
        serves=("20", "2"),
        evcc_tables=_DC,
        program=CHARGE,
        sees=(
            _chosen(_ISO2),
            ("csms", "provisioning", "answered", {"code": "OK", "emaid": "DEV2GC00000001"}),
            ("evcc", "installation", "stored", {"emaid": "DEV2GC00000001"}),
        ),
    ),
    Scenario(
        name="fallback",
        about="a vehicle of all three editions at a charger of ISO 15118-2 and DIN 70121: the best common one is used",
        ending="charged",
        offers=("20", "2", "din"),
        serves=("din", "2"),
        charger='authorization = ["PnC", "EIM"]',
        evcc_tables=_DC,
        program=CHARGE,
        sees=(_chosen(_ISO2), ("evcc", "tls", "connected", {"version": "TLSv1.2"})),
    ),
)
"""The charger serves several editions, the vehicle chooses."""
