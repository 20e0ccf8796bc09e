"""Which quirks are tolerated of which vehicles: by known makes, by `strict`, and by the configuration above both."""

import msgspec
import pytest

from v2g.iso15118.engine.quirks import (
    CHARGING_PROFILE,
    EARLY_POWER_STOP,
    EARLY_SESSION_STOP,
    VEHICLES,
    VehicleQuirks,
    tolerates,
)

pytestmark = pytest.mark.requirement("R197")
IONIQ, MODEL_Y, OTHER = "0465650064C3", "98ED5CDAD998", "0011223344AA"


def test_every_quirk_is_tolerated_unless_the_charger_is_strict() -> None:
    for quirk in (EARLY_SESSION_STOP, EARLY_POWER_STOP, CHARGING_PROFILE):  # what a charger can refuse
        assert all(tolerates(quirk, each, strict=False) for each in (IONIQ, MODEL_Y, OTHER, ""))
        assert not tolerates(quirk, OTHER, strict=True)
        assert not tolerates(quirk, "", strict=True)
    assert tolerates(EARLY_POWER_STOP, IONIQ, strict=True)
    assert not tolerates(EARLY_POWER_STOP, MODEL_Y, strict=True)
    assert tolerates(EARLY_SESSION_STOP, MODEL_Y, strict=True)


def test_the_configuration_overrules_and_the_longest_beginning_counts() -> None:
    own = (VehicleQuirks("0465", ()), VehicleQuirks("046565006", ("charging_profile",)))
    assert tolerates(CHARGING_PROFILE, IONIQ, strict=True, own=own)
    assert not tolerates(EARLY_POWER_STOP, IONIQ, strict=False, own=own)
    assert not tolerates(CHARGING_PROFILE, "046500000000", strict=False, own=own)
    assert tolerates(CHARGING_PROFILE, OTHER, strict=False, own=own)


@pytest.mark.parametrize(
    "entry",
    [
        {"evcc_id": "04:65", "tolerate": []},
        {"evcc_id": "", "tolerate": []},
        {"evcc_id": "0465", "tolerate": ["no_such_quirk"]},
        {"evcc_id": "0465"},
        {"evcc_id": "0465", "tolerate": [], "also": 1},
    ],
)
def test_what_is_no_entry_is_refused(entry: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(entry, VehicleQuirks)


def test_makes_are_named_with_their_source_once() -> None:
    assert len({each.evcc_id for each in VEHICLES}) == len(VEHICLES)
    assert all(each.make and each.source and each.tolerate for each in VEHICLES)
