"""What must hold for the judges of chargers and vehicles: whatever a device sends, a case ends with a verdict.

A device of ours talks to the reference device of a case; what it sends is changed on the way, as the octets choose: by
its schema, so that it is a message with other values, or as octets.
"""

import atexit
import random
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from evcc.session.d2.session import Vehicle2
from evcc.session.d20.session import VehicleSession
from evcc.session.din.session import DinVehicle
from pki_tools.tree import PkiTree, make_pki
from secc.session.d2.session import Iso2Session
from secc.session.d20.session import SeccSession
from secc.session.din.session import DinSession
from tests.fuzz.ocpp import INTEGERS, TEXTS
from tests.testkit.evcc_rig import EvccRig
from tests.testkit.rig import Rig
from v2g import exi
from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.v2gtp import frame
from v2g.iso15118.select import NAMESPACES
from v2g_testkit.cases.case import UNDECODABLE, Case, Verdict
from v2g_testkit.cases.editions import CHARGERS, VEHICLES, Edition
from v2g_testkit.cases.report import junit

_HEADER: Final = 8
"""Octets of V2GTP's header."""

_OWN: Final[dict[Edition, tuple[Any, Any]]] = {
    Edition.ISO20: (SeccSession, VehicleSession),
    Edition.ISO2: (Iso2Session, Vehicle2),
    Edition.DIN: (DinSession, DinVehicle),
}
"""Charger and vehicle of ours, by edition."""

_MOST: Final = 200
"""Octets that take the place of a message at most."""


@cache
def _tree() -> PkiTree:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_pki(folder / "pki", now=datetime.now(UTC))


@cache
def _cases(edition: Edition, family: Family, *, vehicle: bool) -> tuple[Case, ...]:
    found = (VEHICLES if vehicle else CHARGERS)[edition].cases(family)
    scripts = lambda case: case.charger_scripts if vehicle else case.scripts  # noqa: E731
    return tuple(case for case in found if not case.probe and (vehicle or not any(each.pay for each in scripts(case))))


def twisted(value: Any, chance: random.Random) -> Any:
    """Return a value with another part, that its schema may forbid."""
    match value:
        case msgspec.Struct():
            name = chance.choice(value.__struct_fields__ or ("",))
            return msgspec.structs.replace(value, **{name: twisted(getattr(value, name), chance)}) if name else value
        case bool():
            return not value
        case Enum():
            return chance.choice(list(type(value)))
        case int():
            return chance.choice((*INTEGERS, 127, -128, 32_767, -32_768, 65_535))
        case str():
            return chance.choice(TEXTS)
        case bytes():
            return chance.randbytes(chance.choice((0, 1, len(value), 8, 400)))
        case tuple() if value:
            shape = chance.choice(("none", "many", "other"))
            other = (*value[:-1], twisted(value[-1], chance))
            return () if shape == "none" else value * 40 if shape == "many" else other
    return None


def changed(data: bytes, chance: random.Random) -> bytes:
    """Return another frame, or octets, for that of a device."""
    way = chance.choice(("as it is", "as it is", "by schema", "by schema", "by schema", "octets", "raw", "again"))
    if way == "by schema":
        for schema in NAMESPACES.values():
            try:
                message = exi.decode(data[_HEADER:], schema)
                for _ in range(chance.choice((1, 1, 3))):
                    message = twisted(message, chance)
                return frame(int.from_bytes(data[2:4]), exi.encode(message))  # type: ignore[arg-type]
            except (ExiDecodeError, ExiEncodeError, AttributeError, TypeError):
                continue
    if way == "octets":
        octets = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            octets[chance.randrange(_HEADER, len(octets))] ^= 1 << chance.randrange(8)
        return bytes(octets)
    if way == "raw":
        return chance.randbytes(chance.randrange(_MOST))
    return data * 2 if way == "again" else data


def judged(data: bytes, *, vehicle: bool) -> None:
    """Play a case with a device of which each frame may be another: it has a result, and every report takes it."""
    chance = random.Random(data)
    edition = chance.choice(list(Edition))
    family = chance.choice((VEHICLES if vehicle else CHARGERS)[edition].families)
    if edition is Edition.ISO20 and family not in (Family.AC, Family.DC):
        family = Family.DC
    case = chance.choice(_cases(edition, family, vehicle=vehicle))
    rig: Any
    if vehicle:
        rig = EvccRig(_tree(), family, edition=edition, kind=_OWN[edition][1])
    else:
        rig = Rig(_tree(), family, edition=edition, kind=_OWN[edition][0], tls=edition is Edition.ISO20)
    honest = chance.choice((0, 1, 3, 10, 30))

    def garble(sent: bytes) -> bytes:
        nonlocal honest
        honest -= 1
        return sent if honest >= 0 else changed(sent, chance)

    rig.garble = garble
    result = rig.run(case)
    assert result.found
    assert result.found.isprintable()
    assert not (result.verdict is Verdict.PASS and any(UNDECODABLE in each.facts for each in rig.seen))
    assert junit("t", {}, [case], [result])


def seeds() -> list[bytes]:
    """Return the beginnings of choices."""
    return [bytes((number, number)) for number in range(40)]


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "judge-charger": (lambda data: judged(data, vehicle=False), seeds),
    "judge-vehicle": (lambda data: judged(data, vehicle=True), seeds),
}
