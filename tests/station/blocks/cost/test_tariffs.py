"""Which tariff holds where and for whom: limits of what is kept, zones, languages, what is shown (I01 to I10)."""

import pytest

from tests.station.bench import START_MS, Bench, Payload, Refused, at
from tests.station.charging import bench
from tests.station.tariffs import (
    FAILED,
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
from tests.together import together
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


@together(
    ("variable", "value", "status"),
    [("TimeZone", "Europe/Paris", "Accepted"), ("TimeZone", "Mars/Base", "Rejected"), ("TimeZone", "", "Accepted"),
     ("TimeZone", "+01:00", "Rejected"), ("TimeOffset", "", "Accepted"), ("TimeOffset", "+01:00", "Accepted"),
     ("TimeOffset", "-01:30", "Accepted"), ("TimeOffset", "later", "Rejected"), ("TimeOffset", "+01", "Rejected"),
     ("TimeOffset", "Europe/Paris", "Rejected"), ("TimeOffset", "Z", "Rejected"), ("TimeOffset", "+24:00", "Rejected"),
     ("TimeOffset", ".5+01:00", "Rejected")],
)  # fmt: skip
def test_a_zone_that_tariffs_or_profiles_could_not_use_is_refused(variable: str, value: str, status: str) -> None:
    """TimeOffset is a suffix of RFC 3339 with its sign, TimeZone a name."""
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


def test_what_a_tariff_lacks_is_named_before_that_its_name_is_taken() -> None:
    assert station(tariff("T1")).ask("SetDefaultTariff", evseId=0, tariff=many(51))["status"] == "TooManyElements"


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
    found.set("AuthCtrlr", "LocalPreAuthorize", "true")
    found.set("TxCtrlr", "EVConnectionTimeOut", "10")
    for _ in range(2):  # also from the cache (C10.FR.14)
        found.commands.clear()
        found.present("TAG-2", 2)
        assert shown(found, 2) == [("T1", "hello")]
        found.wait(11)
    assert len(found.all("Authorize")) == 2


@pytest.mark.parametrize(
    ("texts", "online", "expected"),
    [
        ({FALLBACK: "counter", OFFLINE: "offline"}, True, [("", "counter")]),
        ({FALLBACK: "counter", OFFLINE: "offline"}, False, [("", "offline")]),
        ({FALLBACK: "counter", OFFLINE: ""}, False, [("", "counter")]),
        ({FALLBACK: "", OFFLINE: ""}, False, []),
        ({FALLBACK: "", OFFLINE: "offline"}, True, []),
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
    expected = {
        ("de",): "deutsch",
        ("DE-CH",): "deutsch",
        ("den",): "first",
        ("en-GB",): "english",
        ("en", "de"): "english",
        ("fr", "de"): "deutsch",
        ("fr",): "first",
        (): "first",
    }
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


# -- from when on


def hours(count: float) -> str:
    return at(START_MS + round(count * HOUR * 1000))


def test_of_tariffs_that_begin_at_one_time_the_last_installed_holds() -> None:
    found = station(*(tariff(name, validFrom=hours(1)) for name in ("A", "B", "C")))
    found.wait(HOUR)
    assert names(found) == ["C"]


def test_of_tariffs_that_began_without_power_the_later_one_holds() -> None:
    found = station(tariff("A", validFrom=hours(2)), tariff("B", validFrom=hours(1)), tariff("C"))
    found.commands.clear()
    found.power_loss(away_s=3 * HOUR)
    assert shown(found) == [("A", "")], "when the station starts"
    assert names(found) == ["A"]


def test_each_tariff_is_shown_when_its_time_comes() -> None:
    found = station(tariff("A"), tariff("B", validFrom=hours(1)), tariff("C", validFrom=hours(2)))
    found.commands.clear()
    found.wait(HOUR + 1)
    assert shown(found) == [("B", "")]
    found.wait(HOUR)
    assert shown(found) == [("B", ""), ("C", "")]


def test_a_clock_that_is_set_back_takes_a_tariff_away_until_its_time() -> None:
    found = station(tariff("A", validFrom=hours(-1)))
    found.commands.clear()
    found.utc_ms -= 2 * HOUR * 1000
    found.wait(1)
    assert shown(found) == [("", "")]
    found.wait(HOUR)
    assert shown(found) == [("", ""), ("A", "")]


def test_a_clock_that_drifts_delays_no_tariff() -> None:
    """Less than a second is no clock that is set."""
    for asked in (names, lambda found: [tariff_of(begin(found))]):
        found = station(tariff("A"), tariff("B", validFrom=hours(1)))
        found.wait(HOUR - 0.5)
        found.utc_ms += 700
        assert asked(found) == ["B"]


# -- whose


def unplugged_later(*defaults: Payload, timeout_s: int = 60) -> Bench:
    """A station whose transactions end with the plug, and that keeps no driver's tariff in a cache."""
    variables = {
        "TxCtrlr.EVConnectionTimeOut": str(timeout_s), "AuthCacheCtrlr.Enabled": "false",
        "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true",
    }  # fmt: skip
    return station(*defaults, stop="EVConnected", variables=variables)


def offline(found: Bench, token: str = "TAG-1", evse_id: int = 2) -> str:
    """Return the tariff of a driver whom the station authorizes by itself."""
    found.drop()
    found.commands.clear()
    found.present(token, evse_id)
    return shown(found, evse_id)[-1][0]


def test_a_driver_s_tariff_is_kept_for_a_transaction_that_uses_it() -> None:
    """Also where its driver has ended the authorization, beside a transaction of somebody else."""
    found = unplugged_later(tariff("T0"))
    begin(found, "TAG-2", 2)
    found.present("TAG-2", 2)
    found.unplug(2)
    begin(found, "TAG-3", 2)
    authorizes(found, tariff("MSP"))
    begin(found, "TAG-1", 1)
    found.present("TAG-1", 1)
    found.wait(62)
    found.unplug(2)
    assert offline(found) == "MSP"


def test_a_driver_s_tariff_is_kept_while_the_driver_is_authorized() -> None:
    """Here in a transaction by the default tariff, beside one of somebody else."""
    found = unplugged_later(tariff("T0"))
    begin(found, "TAG-1", 1)
    authorizes(found, tariff("MSP"))
    found.present("TAG-1", 2)
    found.wait(60.5)
    authorizes(found, None)
    begin(found, "TAG-2", 2)
    found.wait(2)
    assert names(found) == ["T0", "MSP"]


@pytest.mark.parametrize("other", ["TAG-1", "TAG-2"])
def test_a_driver_s_tariff_is_not_kept_for_a_transaction_that_does_not_use_it(other: str) -> None:
    """It is by another tariff, or another driver's."""
    found = unplugged_later(tariff("T0"))
    if other == "TAG-2":
        authorizes(found, tariff("MSP"))
    begin(found, other, 1)
    found.present(other, 1)
    authorizes(found, tariff("MSP"))
    found.present("TAG-1", 2)
    found.wait(62)
    (*_, own) = assigned(found)
    assert own.get("idTokens") == (["TAG-2"] if other == "TAG-2" else None)
    assert offline(found) == "T0"


def test_a_driver_s_tariff_that_was_kept_is_looked_at_again() -> None:
    found = unplugged_later(tariff("T0"))
    authorizes(found, tariff("MSP"))
    begin(found, "TAG-1", 1)
    found.wait(62)
    assert offline(found) == "MSP"
    found.present("TAG-1", 1)
    found.unplug(1)
    found.wait(130)
    found.back()
    assert names(found) == ["T0"]


def test_the_last_tariff_of_a_driver_counts_though_the_cache_has_an_older_one() -> None:
    found = station()
    authorizes(found, tariff("old"))
    found.present()
    found.present()
    found.set("AuthCacheCtrlr", "Enabled", "false")
    authorizes(found, tariff("new"))
    found.answers["TransactionEvent"] = {}
    found.present()
    found.set("AuthCacheCtrlr", "Enabled", "true")
    found.plug()
    assert tariff_of(found.expect("TransactionEvent", eventType="Started")) == "new"


@pytest.mark.parametrize(("timeout_s", "kept"), [(0, True), (1, False)])
def test_without_a_time_for_plugging_in_a_driver_s_tariff_stays(timeout_s: int, kept: bool) -> None:
    found = unplugged_later(timeout_s=timeout_s)
    authorizes(found, tariff("MSP"))
    found.present()
    found.present()
    found.wait(10)
    assert names(found) == (["MSP"] if kept else [])


def test_what_was_let_go_is_not_looked_at_again() -> None:
    found = unplugged_later(timeout_s=60)
    authorizes(found, tariff("MSP"))
    begin(found)
    end(found)
    assert names(found) == []
    found.set("TxCtrlr", "EVConnectionTimeOut", "0")
    found.present()
    found.present()
    found.wait(100)
    assert names(found) == ["MSP"]


# -- answers to authorizations


def test_an_error_for_an_answer_has_no_tariff() -> None:
    found = station(tariff("T0"))
    found.answers["Authorize"] = Refused("InternalError")
    found.plug()
    found.present()
    assert not found.allowed()


def test_a_tariff_that_cannot_be_used_makes_the_driver_invalid() -> None:
    found = station(tariff("T0"), variables={MAX: "3"})
    authorizes(found, many(4))
    found.plug()
    found.present()
    assert not found.allowed()
    found.power_loss()
    (known,) = found.saved["cache"].values()
    assert b"Invalid" in known
    assert b"Invalid?" not in known


def test_the_problem_names_the_reason_of_a_refusal() -> None:
    found = station(variables={FAILED: "UseDefaultTariff"})
    found.ask("SetMonitoringBase", monitoringBase="HardWiredOnly")
    authorizes(found, priced((0.1, {"startTimeOfDay": "8 am"})))
    found.present()
    assert found.all("NotifyEvent")[-1]["eventData"][0]["techCode"] == "InvalidValue"


# -- what is shown to a driver whose transaction has begun


def test_who_plugs_in_first_sees_what_is_to_be_paid_once() -> None:
    found = station(tariff(description=[text("default")]), start="EVConnected")
    found.plug()
    found.commands.clear()
    found.present()
    assert shown(found) == [("T1", "default")]
    free = station(start="EVConnected", variables={FALLBACK: "counter"})
    free.plug()
    free.present()
    assert shown(free) == [("", "counter")]


def test_the_default_tariff_is_shown_again_after_a_driver() -> None:
    found = station(tariff(description=[text("default")]))
    found.answers["Authorize"] = lambda _: {
        "idTokenInfo": {"status": "Accepted"}, "tariff": tariff("T2", description=[text("mine")])
    }  # fmt: skip
    found.plug()
    found.present()
    found.commands.clear()
    found.present()
    assert shown(found) == [("T1", "default")]


def test_where_costs_are_not_worked_out_here_a_message_is_shown() -> None:
    found = station(tariff(), variables={"TariffCostCtrlr.Enabled[Cost]": "false", FALLBACK: "counter"})
    found.commands.clear()
    found.present()
    assert shown(found) == [("", "counter")]


def test_over_2_0_1_there_is_no_message_of_its_own_for_being_offline() -> None:
    found = bench(version="2.0.1", variables={FALLBACK: "counter", "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true"})
    found.drop()
    found.present()
    assert shown(found) == [("", "counter")]


def test_tariffs_of_an_evse_that_is_not_there_are_not_reported() -> None:
    answer = station().ask("GetTariffs", evseId=7)
    assert (answer["status"], answer["statusInfo"]["reasonCode"]) == ("Rejected", "UnknownEvse")


def test_a_driver_who_does_not_come_leaves_no_tariff_behind() -> None:
    """The authorization ends without a transaction: the next driver sees what everybody pays."""
    found = station(tariff("T0", description=[text("for all", "en")]), variables={"TxCtrlr.EVConnectionTimeOut": "60"})
    authorizes(found, tariff("T1", description=[text("for you", "en")]))
    found.present("TAG-1", 1)
    assert shown(found)[-1] == ("T1", "for you")
    found.wait(61)
    assert shown(found)[-1] == ("T0", "for all")
    assert found.all("TransactionEvent") == []


@pytest.mark.parametrize("own", [True, False])
def test_a_new_default_is_not_displayed_to_who_charges_by_another(own: bool) -> None:
    """I07.FR.24: a transaction keeps its tariff; the next driver's is displayed once it has ended."""
    found = station(tariff("T0", description=[text("for all", "en")]))
    if own:
        authorizes(found, tariff("T1", description=[text("for you", "en")]))
    begin(found)
    before = shown(found)
    assert found.ask("SetDefaultTariff", evseId=0, tariff=tariff("T2", 0.7, description=[text("dearer", "en")]))
    assert shown(found) == before
    assert shown(found, 2)[-1] == ("T2", "dearer")
    end(found)
    assert shown(found)[-1] == ("T2", "dearer")


def test_a_new_default_is_displayed_to_who_will_charge_by_it() -> None:
    found = station(tariff("T0", description=[text("for all", "en")]))
    found.present("TAG-1", 1)
    found.ask("SetDefaultTariff", evseId=0, tariff=tariff("T2", 0.7, description=[text("dearer", "en")]))
    assert shown(found)[-1] == ("T2", "dearer")
    found.plug()
    assert tariff_of(found.expect("TransactionEvent", eventType="Started")) == "T2"


def test_a_power_cut_leaves_the_tariff_of_a_transaction_on_the_display() -> None:
    found = station(tariff("T0", description=[text("for all", "en")]), variables={"TxCtrlr.ResumptionTimeout": "600"})
    authorizes(found, tariff("T1", description=[text("for you", "en")]))
    begin(found)
    found.ask("SetDefaultTariff", evseId=0, tariff=tariff("T2", 0.7, description=[text("dearer", "en")]))
    found.power_loss()
    assert shown(found)[-1] == ("T1", "for you")
    assert shown(found, 2)[-1] == ("T2", "dearer")
    found.plug()
    end(found)
    assert shown(found)[-1] == ("T2", "dearer")
