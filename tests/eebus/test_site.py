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
         "contractualConsumptionNominalMax", 10),
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
        found.system.measure((-250, 1, 2, *(None,) * 7)[:count], found.at)
        assert len(found.read(5, "measurementListData")["measurementData"]) == count


def test_a_grid_connection_has_power_energies_currents_voltages_and_frequency() -> None:
    """MGCP, scenarios 2 to 7, by what describes each value; what is not measured is marked as an error."""
    found = Joined(msgspec.structs.replace(FACTS, site=True))
    found.connect()
    (mgcp,) = asked(found, "nodeManagementUseCaseData")["useCaseInformation"][1]["useCaseSupport"]
    assert mgcp["scenarioSupport"] == [2, 3, 4, 5, 6, 7]
    found.system.measure((-4200, 90_000, 1_234_567, -6.087, -6.1, None, 229.96, 230.0, 231.5, 49.987), found.at)
    described = found.read(5, "measurementDescriptionListData")["measurementDescriptionData"]
    parameters = found.read(4, "electricalConnectionParameterDescriptionListData")
    placed = {each["measurementId"]: each for each in parameters["electricalConnectionParameterDescriptionData"]}
    data = {each["measurementId"]: each for each in found.read(5, "measurementListData")["measurementData"]}
    seen = {}
    for each in described:
        number, place = data[each["measurementId"]], placed[each["measurementId"]]
        value = number.get("value")
        key = each["scopeType"], each["unit"], place.get("acMeasuredPhases"), place.get("acMeasuredInReferenceTo")
        seen[key] = None if value is None else round(value["number"] * 10 ** value.get("scale", 0), 3)
        assert number["valueState"] == ("error" if value is None else "normal")
    assert seen == {
        ("acPowerTotal", "W", "abc", None): -4200, ("gridFeedIn", "Wh", None, None): 90_000,
        ("gridConsumption", "Wh", None, None): 1_234_567, ("acCurrent", "A", "a", None): -6.087,
        ("acCurrent", "A", "b", None): -6.1, ("acCurrent", "A", "c", None): None,
        ("acVoltage", "V", "a", "neutral"): 230.0, ("acVoltage", "V", "b", "neutral"): 230.0,
        ("acVoltage", "V", "c", "neutral"): 231.5, ("acFrequency", "Hz", None, None): 49.987,
    }  # fmt: skip
