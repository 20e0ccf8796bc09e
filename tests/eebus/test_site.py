"""A site's energy manager announces itself as one: CEM, its contract's values, and the grid connection (MGCP)."""

from typing import Any

import msgspec

from tests.eebus.guard import FACTS, Joined


def asked(found: Joined, function: str) -> Any:
    """Return what the node itself answers."""
    assert found.link is not None
    found.system.receive(found.link, found.guard.node("read", {function: {}}), found.at)
    found.pass_on()
    return found.guard.last(function)


def test_a_site_is_an_energy_manager_that_shows_its_grid_connection() -> None:
    """A charger is none: both by the same plain JSON of a box."""
    for site, device, entity, actor, case, kind, count in (
        (True, "EnergyManagementSystem", "CEM", "GridConnectionPoint", "monitoringOfGridConnectionPoint",
         "contractualConsumptionNominalMax", 1),
        (False, "ChargingStation", "EVSE", "MonitoredUnit", "monitoringOfPowerConsumption",
         "powerConsumptionNominalMax", 3),
    ):  # fmt: skip
        found = Joined(msgspec.structs.replace(FACTS, site=site))
        found.connect()
        shown = asked(found, "nodeManagementDetailedDiscoveryData")
        assert shown["deviceInformation"]["description"]["deviceType"] == device
        assert entity in [each["description"]["entityType"] for each in shown["entityInformation"]]
        cases = asked(found, "nodeManagementUseCaseData")["useCaseInformation"]
        names = {each["actor"]: [one["useCaseName"] for one in each["useCaseSupport"]] for each in cases}
        assert names["ControllableSystem"] == ["limitationOfPowerConsumption", "limitationOfPowerProduction"]
        assert names[actor] == [case]
        listed = found.read(4, "electricalConnectionCharacteristicListData")
        assert listed["electricalConnectionCharacteristicData"][0]["characteristicType"] == kind
        found.system.measure(-250, 1, 2, found.at)
        assert len(found.read(5, "measurementListData")["measurementData"]) == count
