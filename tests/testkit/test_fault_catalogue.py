"""Every fault in a field of a charger's response is caught by a named case, or listed with the reason why none can."""

import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest

from pki_tools.tree import PkiTree
from secc.session.config import SeccConfig
from secc.session.d2.session import Iso2Session
from secc.session.d20.session import SeccSession
from secc.session.din.session import DinSession
from tests.io.tls.support import pki_2
from tests.testkit.fault_catalogue import Fault, faults
from tests.testkit.message_chargers import STRICT, Way
from tests.testkit.rig import Rig
from tests.testkit.secc_cases import EVERYTHING
from v2g import exi
from v2g.iso15118.d20.charts import Family
from v2g_testkit.cases.case import Ask, Case, Verdict
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import Edition

__all__ = ["pki_2"]

WAYS: Final = (
    Way(Edition.ISO2, Family.DC), Way(Edition.ISO2, Family.AC), Way(Edition.DIN, Family.DC),
    Way(Edition.ISO20, Family.DC), Way(Edition.ISO20, Family.AC),
)  # fmt: skip
BRIEF: Final = ("2-AC", "din-DC")
"""Tried in every run."""

LOADED: Final = "-energy-services-anew"
"""The case in which energy flows for longer."""

KNOWN: Final[dict[str, Any]] = tomllib.loads(Path("docs/fault-catalogue.toml").read_text())
KINDS: Final = {Edition.ISO2: Iso2Session, Edition.DIN: DinSession, Edition.ISO20: SeccSession}


def charger_of(edition: Edition, alter: Callable[[Any, Any], Any]) -> type:
    """Return a charger whose responses are altered before they are sent."""
    own: Any = KINDS[edition]
    if edition is Edition.ISO20:

        class Altered20(own):
            def _send(self, message: Any, *more: Any, **options: Any) -> None:
                if options.get("encoded"):
                    altered = alter(message, exi.encode)
                    options = options if altered is message else {}
                else:
                    altered = alter(message, exi.encode)
                super()._send(altered, *more, **options)

        return Altered20

    class Altered(own):
        def _send_body(self, body: Any, signature: Any = None) -> None:
            super()._send_body(alter(body, lambda each: exi.encode(self._wrapped(each, None))), signature)

    return Altered


def positive(message: Any) -> bool:
    """Return whether a message is a positive response."""
    code = getattr(message, "response_code", None)
    return code is not None and code.name.startswith("OK") and not type(message).__name__.startswith("Supported")


def rig(way: Way, pki: PkiTree, alter: Callable[[Any, Any], Any]) -> Rig:
    plain = way.edition is not Edition.ISO20
    return Rig(
        pki, way.family, kind=charger_of(way.edition, alter), edition=way.edition,
        config=STRICT if plain else EVERYTHING, tls=True,
        declared=ChargerDeclaration(
            meter_info=True, meter_reading=True, evse_id=SeccConfig().evse_id, meter_id="METER-0001"
        ),
    )  # fmt: skip


def whole(way: Way) -> list[Case]:
    return [case for case in way.cases() if case.group == "RUN"]


def good(way: Way) -> dict[str, list[Case]]:
    """Return the cases by the response that they are about."""
    found: dict[str, list[Case]] = {}
    for case in way.cases():
        do = case.scripts[-1].do
        if case.id.endswith("-modes"):
            found.setdefault("AuthorizationSetupRes", []).append(case)
        if case.open or case.group == "RUN" or not isinstance(do, Ask) or not case.scripts[-1].expect.codes:
            continue
        if case.scripts[-1].expect.codes[0].startswith("OK"):
            found.setdefault(do.request.removesuffix("Req") + "Res", []).append(case)
    return found


def catalogue(way: Way, pki: PkiTree) -> dict[str, dict[str, Fault]]:
    """Return the faults of each response."""
    found: dict[str, dict[str, Fault]] = {}

    def capture(message: Any, written: Callable[[Any], bytes]) -> Any:
        if positive(message):
            known = found.setdefault(type(message).__name__, {})
            known |= {name: each for name, each in faults(message, written).items() if name not in known}
        return message

    made = rig(way, pki, capture)
    for case in whole(way):
        result = made.run(case)
        assert result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE), result
    return found


def caught(way: Way, pki: PkiTree, name: str, fault: Fault, cases: dict[str, list[Case]]) -> str:
    """Return the case that fails a charger with a fault, or nothing."""

    def alter(message: Any, _: Any) -> Any:
        return fault.put(message) if type(message).__name__ == name and positive(message) else message

    made = rig(way, pki, alter)
    loaded = [case for case in way.cases() if case.id.endswith(LOADED)] if name == "DC_ChargeLoopRes" else []
    for case in (*cases.get(name, ())[:1], *whole(way), *cases.get(name, ())[1:], *loaded):
        if made.run(case).verdict is Verdict.FAIL:
            return case.id
    return ""


@pytest.mark.some(1)
@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if str(way) in BRIEF else pytest.mark.long, id=str(way)) for way in WAYS]
)
def test_every_fault_is_caught_or_named(pki: PkiTree, pki_2: PkiTree, way: Way) -> None:
    tree = pki if way.edition is Edition.ISO20 else pki_2
    about = good(way)
    faultless = rig(way, tree, lambda message, _: message)
    for case in {case.id: case for some in about.values() for case in some}.values():
        assert (result := faultless.run(case)).verdict is not Verdict.FAIL, result
    of_way = {
        f"{way} {message} {name}": bool(caught(way, tree, message, fault, about))
        for message, some in catalogue(way, tree).items()
        for name, fault in some.items()
    }
    allowed = {each for each, found in of_way.items() if not found and fits(each, "allowed")}
    missed = {each for each, found in of_way.items() if not found} - allowed
    assert {each for each in missed if not fits(each, "unseen")} == set()
    (stated,) = (each for each in KNOWN["way"] if each["id"] == str(way))
    faults_of_way = len(of_way) - len(allowed)
    assert (stated["faults"], stated["caught"]) == (faults_of_way, faults_of_way - len(missed))


def fits(name: str, kind: str) -> bool:
    return any(fnmatchcase(name, pattern) for each in KNOWN[kind] for pattern in each["patterns"])
