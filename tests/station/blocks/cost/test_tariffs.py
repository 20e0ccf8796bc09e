"""Which tariff holds where and for whom: limits of what is kept, zones, languages, what is shown (I01 to I10)."""

import pytest

from tests.certification.station.bench import START_MS, Bench, Payload, at
from tests.certification.station.test_block_i_tariffs import (
    HOUR,
    MAX,
    assigned,
    authorizes,
    begin,
    change,
    charge,
    end,
    many,
    priced,
    station,
    tariff,
    tariff_of,
    total,
)
from v2g.ocpp.messages.base import MessageContent
from v2g.ocpp.messages.tariff_cost import Tariff
from v2g_station.blocks.cost.tariffs import MAX_DEFAULTS, MAX_DRIVERS, ShowTariff, description

OFFLINE = "TariffCostCtrlr.OfflineTariffFallbackMessage"
FALLBACK = "TariffCostCtrlr.TariffFallbackMessage"


def shown(found: Bench, evse_id: int = 1) -> list[tuple[str, str]]:
    return [(c.tariff_id, c.text) for c in found.commands if isinstance(c, ShowTariff) and c.evse_id == evse_id]


def text(content: str, language: str | None = None) -> Payload:
    return {"format": "UTF8", "content": content} | ({"language": language} if language else {})


def names(found: Bench, evse_id: int = 0) -> list[str]:
    return [each["tariffId"] for each in assigned(found, evse_id)]


@pytest.mark.parametrize(("cost", "expected"), [("true", "T1"), ("false", None)])
def test_tariffs_price_only_where_costs_are_worked_out(cost: str, expected: str | None) -> None:
    found = station(tariff(), variables={"TariffCostCtrlr.Enabled[Cost]": cost})
    assert tariff_of(begin(found)) == expected


@pytest.mark.parametrize(
    ("zone", "cost"),
    [
        ({}, 4.0),
        ({"ClockCtrlr.TimeOffset": "+02:00"}, 2.0),
        ({"ClockCtrlr.TimeZone": "Europe/Berlin"}, 2.0),
        ({"ClockCtrlr.TimeZone": "Europe/Berlin", "ClockCtrlr.TimeOffset": "+00:00"}, 2.0),
    ],
)
def test_times_of_day_are_local(zone: dict[str, str], cost: float) -> None:
    """It is 20:30 UTC, 22:30 in Berlin."""
    found = station(priced((0.2, {"startTimeOfDay": "22:00", "endTimeOfDay": "23:59"}), (0.4, {})), variables=zone)
    begin(found)
    charge(found, 10, 10_000)
    assert total(end(found))[0] == cost


@pytest.mark.parametrize(
    ("variable", "value", "status"),
    [("TimeZone", "Europe/Paris", "Accepted"), ("TimeZone", "Mars/Base", "Rejected"), ("TimeZone", "", "Accepted"),
     ("TimeOffset", "+01:00", "Accepted"), ("TimeOffset", "later", "Rejected")],
)  # fmt: skip
def test_a_zone_that_tariffs_could_not_use_is_refused(variable: str, value: str, status: str) -> None:
    found = station()
    data = {"component": {"name": "ClockCtrlr"}, "variable": {"name": variable}, "attributeValue": value}
    (result,) = found.ask("SetVariables", setVariableData=[data])["setVariableResult"]
    assert result["attributeStatus"] == status
    reason = result.get("attributeStatusInfo", {})
    assert reason.get("reasonCode") == ("InvalidValue" if status == "Rejected" else None)
    assert status == "Accepted" or value in reason["additionalInfo"]


def test_a_default_tariff_in_a_zone_that_is_gone_prices_nothing_and_is_a_problem() -> None:
    found = station(tariff())
    found.saved["variables"]["ClockCtrlr.TimeZone"] = b"Mars/Base"
    found.power_loss()
    assert tariff_of(begin(found)) is None
    assert found.all("NotifyEvent")[-1]["eventData"][0]["actualValue"] == "true"
    assert "costDetails" not in end(found)


def test_a_default_tariff_prices_at_its_evse_and_from_its_time_on() -> None:
    found = station()
    assert found.ask("SetDefaultTariff", evseId=2, tariff=tariff("T2"))["status"] == "Accepted"
    assert tariff_of(begin(found)) is None
    assert tariff_of(begin(found, "TAG-2", 2)) == "T2"
    assert tariff_of(begin(station(tariff(validFrom=at(START_MS + HOUR * 1000))))) is None


# -- what is kept


def test_a_hundred_default_tariffs_are_kept() -> None:
    found = station()
    answers = [
        found.ask("SetDefaultTariff", evseId=0, tariff=tariff(f"T{n}", validFrom=at(START_MS + (n + 1) * HOUR * 1000)))
        for n in range(MAX_DEFAULTS + 1)
    ]
    assert MAX_DEFAULTS == 100
    assert [each["status"] for each in answers] == ["Accepted"] * 100 + ["Rejected"]
    assert answers[-1]["statusInfo"]["reasonCode"] == "OutOfMemory"
    assert found.ask("SetDefaultTariff", evseId=0, tariff=tariff("T5"))["status"] == "DuplicateTariffId"


def test_the_tariffs_of_a_hundred_drivers_are_kept() -> None:
    found = station(variables={"TxCtrlr.EVConnectionTimeOut": "0"})
    authorizes(found, tariff("MSP"))
    for number in range(MAX_DRIVERS + 1):
        found.present(f"TAG-{number}")
        found.present(f"TAG-{number}")  # once more ends the authorization
    (own,) = assigned(found)
    assert MAX_DRIVERS == 100
    assert own["idTokens"] == [f"TAG-{number}" for number in range(1, 101)]


def test_a_driver_s_tariff_stays_while_it_is_used_or_waited_for_elsewhere() -> None:
    found = station(tariff("T0"), variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    authorizes(found, tariff("MSP"))
    for evse_id in (1, 2):
        assert tariff_of(begin(found, "TAG-1", evse_id)) == "MSP"
    end(found, "TAG-1", 1)
    assert {"tariffId": "MSP", "tariffKind": "DriverTariff", "evseIds": [2], "idTokens": ["TAG-1"]} in assigned(found)
    found.wait(120)
    assert "MSP" in names(found)
    authorizes(found, None)
    found.present("TAG-9", 1)
    end(found, "TAG-1", 2)
    assert names(found) == ["T0"]


def test_a_driver_s_tariff_is_checked_a_second_after_the_time_for_plugging_in() -> None:
    found = station(variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    authorizes(found, tariff("MSP"))
    found.present()
    found.wait(60.5)
    assert names(found) == ["MSP"]
    found.wait(1)
    assert names(found) == []


def test_a_new_answer_without_a_tariff_ends_the_driver_s_own() -> None:
    found = station(tariff("T0"))
    authorizes(found, tariff("MSP"))
    found.present("TAG-1", 2)
    assert names(found) == ["T0", "MSP"]
    authorizes(found, None)
    found.present("TAG-1", 1)
    found.plug()
    assert tariff_of(found.expect("TransactionEvent", eventType="Started")) == "T0"


@pytest.mark.parametrize("change_", [{"idTokenInfo": {"status": "Blocked"}}, {}])
def test_a_driver_who_is_not_accepted_or_a_disabled_feature_has_no_own_tariff(change_: Payload) -> None:
    found = station(variables={} if change_ else {"TariffCostCtrlr.Enabled[Tariff]": "false"}) if change_ else bare()
    authorizes(found, tariff("MSP"))
    found.answers["Authorize"] = {**found.answers["Authorize"], **change_}  # type: ignore[dict-item]
    found.present()
    found.set("TariffCostCtrlr", "Enabled", "true", instance="Tariff")
    assert names(found) == []


def bare() -> Bench:
    return station(variables={"TariffCostCtrlr.Enabled[Tariff]": "false"})


def test_drivers_with_one_tariff_are_named_together() -> None:
    found = station()
    authorizes(found, tariff("MSP"))
    begin(found, "TAG-1", 1)
    begin(found, "TAG-2", 2)
    assert assigned(found) == [
        {"tariffId": "MSP", "tariffKind": "DriverTariff", "evseIds": [1, 2], "idTokens": ["TAG-1", "TAG-2"]}
    ]
    assert names(found, 2) == ["MSP"]


def test_a_tariff_that_a_transaction_was_changed_to_is_its_driver_s() -> None:
    found = station(tariff("T0"))
    begin(found)
    change(found, tariff("T2"))
    assert {"tariffId": "T2", "tariffKind": "DriverTariff", "evseIds": [1], "idTokens": ["TAG-1"]} in assigned(found)
    assert [each["tariffKind"] for each in assigned(found, 1)] == ["DefaultTariff", "DriverTariff"]


# -- why a tariff is refused


@pytest.mark.parametrize(
    ("wanted", "status", "reason"),
    [
        (many(3), "TooManyElements", None),
        (priced((0.1, {"startTimeOfDay": "8 am"})), "Rejected", "InvalidValue"),
        (priced((0.1, {"minPower": -1000})), "ConditionNotSupported", "UnsupportedParam"),
        (many(2), "Accepted", None),
    ],
)
def test_a_refusal_names_its_reason(wanted: Payload, status: str, reason: str | None) -> None:
    found = station(variables={MAX: "2"})
    answer = found.ask("SetDefaultTariff", evseId=0, tariff=wanted)
    assert (answer["status"], answer.get("statusInfo", {}).get("reasonCode")) == (status, reason)
    assert reason is None or answer["statusInfo"]["additionalInfo"]


def test_a_refused_tariff_of_a_driver_is_noted_and_alerted_each_time() -> None:
    found = station(variables={MAX: "3"})
    authorizes(found, many(4))
    for token in ("TAG-1", "TAG-2"):
        found.present(token)
    events = [each["eventData"][0] for each in found.all("NotifyEvent")]
    assert [each["actualValue"] for each in events] == ["true"], "a monitor reports the change"
    noted = [each.data for each in found.observed if each.name == "driver_tariff_refused"]
    assert [(each["tariff_id"], each["status"]) for each in noted] == [("T1", "TooManyElements")] * 2
    authorizes(found, tariff("good"))
    for token in ("TAG-3", "TAG-4"):
        found.present(token)
    assert [each["eventData"][0]["actualValue"] for each in found.all("NotifyEvent")] == ["true", "false"]
    found = station(variables={MAX: "3"})
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    for own in (many(4), many(4), tariff("good"), tariff("good")):
        authorizes(found, own)
        found.present()
    events = [each["eventData"][0] for each in found.all("NotifyEvent")]
    assert [(each["actualValue"], each.get("techCode")) for each in events] == [
        ("true", "TooManyElements"), ("true", "TooManyElements"), ("false", None)
    ]  # fmt: skip


def test_no_tariff_of_a_driver_is_a_problem_s_end() -> None:
    found = station(variables={MAX: "3"})
    authorizes(found, tariff("good"))
    found.present()
    assert found.all("NotifyEvent") == []


# -- what is shown


def test_default_tariffs_are_shown_when_they_change() -> None:
    found = station(tariff("A", description=[text("a")]))
    found.commands.clear()
    found.ask("SetDefaultTariff", evseId=2, tariff=tariff("B", description=[text("b")]))
    assert (shown(found, 1), shown(found, 2)) == ([], [("B", "b")])
    found.ask("SetDefaultTariff", evseId=0, tariff=tariff("C", validFrom=at(START_MS + HOUR * 1000)))
    found.wait(HOUR + 1)
    assert (shown(found, 1), shown(found, 2)) == ([("C", "")], [("B", "b"), ("C", "")])
    found.ask("ClearTariffs", tariffIds=["C"], evseId=1)
    assert (shown(found, 1)[-1], shown(found, 2)[-1]) == (("", ""), ("C", ""))
    found.power_loss()
    assert (names(found, 1), names(found, 2)) == ([], ["C"])


def test_a_tariff_that_is_withdrawn_before_it_holds_never_does() -> None:
    found = station(tariff("A"), tariff("B", validFrom=at(START_MS + HOUR * 1000)))
    found.ask("ClearTariffs", tariffIds=["B"])
    found.wait(2 * HOUR)
    assert names(found) == ["A"]


def test_a_message_for_the_driver_comes_before_descriptions_and_fallbacks() -> None:
    found = station(tariff(description=[text("default")]), variables={FALLBACK: "counter", OFFLINE: "offline"})
    found.commands.clear()
    found.present()
    assert shown(found) == [("T1", "default")]
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "personalMessage": text("hello")}}
    found.present("TAG-2", 2)
    assert shown(found, 2) == [("T1", "hello")]


@pytest.mark.parametrize(
    ("texts", "online", "expected"),
    [
        ({FALLBACK: "counter", OFFLINE: "offline"}, True, [("", "counter")]),
        ({FALLBACK: "counter", OFFLINE: "offline"}, False, [("", "offline")]),
        ({FALLBACK: "counter", OFFLINE: ""}, False, [("", "counter")]),
        ({FALLBACK: "", OFFLINE: ""}, False, []),
    ],
)
def test_without_a_tariff_a_message_of_the_station_is_shown(
    texts: dict[str, str], online: bool, expected: list[tuple[str, str]]
) -> None:
    found = station(variables=texts | {"AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"})
    if not online:
        found.drop()
    found.present()
    assert shown(found) == expected


def test_a_transaction_that_has_its_tariff_shows_no_other() -> None:
    found = station(tariff(description=[text("default")]))
    begin(found)
    found.commands.clear()
    found.present("TAG-2", 2)
    assert (shown(found, 1), shown(found, 2)) == ([], [("T1", "default")])


def test_a_description_is_in_the_driver_s_language_else_the_first() -> None:
    texts = tuple(
        MessageContent(format="UTF8", content=content, language=language)
        for content, language in (("first", None), ("deutsch", "de-AT"), ("english", "en"))
    )
    wanted = Tariff(tariff_id="T", currency="EUR", description=texts)
    expected = {"de": "deutsch", "de-CH": "deutsch", "en-GB": "english", "fr": "first", None: "first", "": "first"}
    assert {each: description(wanted, each) for each in expected} == expected
    assert description(Tariff(tariff_id="T", currency="EUR"), "de") == ""


# -- clearing, by place


def test_a_tariff_is_cleared_where_it_was_asked_for() -> None:
    found = station(tariff("A"))
    assert found.ask("ClearTariffs", evseId=1, tariffIds=["A"]) == {
        "clearTariffsResult": [{"status": "Accepted", "tariffId": "A"}]
    }
    assert (names(found, 1), names(found, 2)) == ([], ["A"])
    found.power_loss()
    assert (names(found, 1), names(found, 2)) == ([], ["A"])
    assert found.ask("ClearTariffs", evseId=2, tariffIds=["B"]) == {"clearTariffsResult": [{"status": "NoTariff"}]}
