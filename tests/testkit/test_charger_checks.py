"""Chargers whose responses contradict the session or themselves: a whole session names it, and no more than that."""

import itertools
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.d2.session import Iso2Session
from secc.session.d20.session import SeccSession
from secc.session.din.session import DinSession
from tests.exi.streams import bits, exchanged, text
from tests.io.tls.support import pki_2
from tests.testkit.message_chargers import STRICT, Way
from tests.testkit.rig import Rig
from tests.testkit.secc_cases import EVERYTHING
from v2g.iso15118.d2.messages import data_types as types_2
from v2g.iso15118.d2.schedules import VALUES as VALUES_2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import ac, dc
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages import schedules as sched
from v2g.iso15118.d20.messages.common_types import Processing, RationalNumber, ResponseCode
from v2g.iso15118.engine.physical_values import Rounding
from v2g_testkit.cases.case import Case, Result, Verdict
from v2g_testkit.cases.editions import Edition
from v2g_testkit.cases.known import number

__all__ = ["pki_2"]

pytestmark = pytest.mark.requirement("R16")

DC20, AC20 = Way(Edition.ISO20, Family.DC), Way(Edition.ISO20, Family.AC)
DC2, AC2, DIN = Way(Edition.ISO2, Family.DC), Way(Edition.ISO2, Family.AC), Way(Edition.DIN, Family.DC)

Change = Callable[[Any], Any]


def charger_of(edition: Edition, response: str, change: Change) -> type:
    """Return a charger that changes its positive responses of a kind before it sends them."""
    own: Any = {Edition.ISO2: Iso2Session, Edition.DIN: DinSession, Edition.ISO20: SeccSession}[edition]

    def changed(message: Any) -> Any:
        positive = type(message).__name__ == response and message.response_code.name.startswith("OK")
        return change(message) if positive else message

    class Changed(own):
        def _send(self, message: Any, *more: Any, **options: Any) -> None:
            altered = changed(message)
            super()._send(altered, *more, **(options if altered is message else {}))

        def _send_body(self, body: Any, signature: Any = None) -> None:
            super()._send_body(changed(body), signature)

    return Changed


def run_of(way: Way, ends: str) -> Case:
    """Return the case of a whole session whose id ends so."""
    return next(case for case in way.cases() if case.group in ("RUN", "AUT") and case.id.endswith(ends))


def result(pki: PkiTree, way: Way, ends: str, response: str, change: Change) -> Result:
    """Return the result of the case for a charger with this change."""
    config = EVERYTHING if way.edition is Edition.ISO20 else STRICT
    kind = charger_of(way.edition, response, change)
    return Rig(pki, way.family, config=config, kind=kind, edition=way.edition).run(run_of(way, ends))


def coded(code: ResponseCode) -> Change:
    return lambda message: replace(message, response_code=code)


def scheduled(change: Change) -> Change:
    """Return a change of the tuples of ScheduleExchangeRes."""

    def put(message: cm.ScheduleExchangeRes) -> cm.ScheduleExchangeRes:
        mode = message.scheduled_se_res_control_mode
        assert mode is not None
        return replace(message, scheduled_se_res_control_mode=replace(mode, schedule_tuple=change(mode.schedule_tuple)))

    return put


def powers(watts: float, part: str = "charging_schedule") -> Change:
    """Return a change of all powers of the charging schedules, or of discharging schedules like them."""

    def put(offered: tuple[sched.ScheduleTuple, ...]) -> tuple[sched.ScheduleTuple, ...]:
        first = offered[0]
        planned = first.charging_schedule.power_schedule
        entry = replace(planned.power_schedule_entries.power_schedule_entry[0], power=number(watts))
        entries = sched.PowerScheduleEntryList(power_schedule_entry=(entry,))
        return (replace(first, **{part: sched.ChargingSchedule(power_schedule=replace(
            planned, power_schedule_entries=entries))}),)  # fmt: skip

    return scheduled(put)


def priced(start_w: tuple[float, ...] = (0,), fee: float = 0.25, **changes: Any) -> Change:
    """Return a change of the schedules: these absolute prices."""
    rules = tuple(sched.PriceRule(energy_fee=number(fee), power_range_start=number(each)) for each in start_w)

    def put(offered: tuple[sched.ScheduleTuple, ...]) -> tuple[sched.ScheduleTuple, ...]:
        first = offered[0]
        fields: dict[str, Any] = {
            "time_anchor": first.charging_schedule.power_schedule.time_anchor,
            "price_schedule_id": 1,
            "currency": "EUR",
            "language": "eng",
            "price_algorithm": "urn:iso:std:iso:15118:-20:PriceAlgorithm:1-Power",
            "price_rule_stacks": sched.PriceRuleStackList(
                price_rule_stack=(sched.PriceRuleStack(duration=86_400, price_rule=rules),)
            ),
        }
        prices = sched.AbsolutePriceSchedule(**{**fields, **changes})
        schedule = replace(first.charging_schedule, absolute_price_schedule=prices, price_level_schedule=None)
        return (replace(first, charging_schedule=schedule),)

    return scheduled(put)


def taxed(*ids: int) -> sched.TaxRuleList:
    return sched.TaxRuleList(
        tax_rule=tuple(
            sched.TaxRule(
                tax_rule_id=each, tax_rate=number(19), applies_to_energy_fee=True, applies_to_parking_fee=True,
                applies_to_overstay_fee=True, applies_minimum_maximum_cost=True,
            )
            for each in ids
        )
    )  # fmt: skip


def sets(change: Change) -> Change:
    """Return a change of the parameter sets of ServiceDetailRes."""
    return lambda message: replace(
        message,
        service_parameter_list=cm.ServiceParameterList(
            parameter_set=tuple(change(message.service_parameter_list.parameter_set))
        ),
    )


def parameters(change: Change) -> Change:
    """Return a change of the parameters of each set."""
    return sets(lambda some: [replace(each, parameter=tuple(change(each.parameter))) for each in some])


def without(name: str) -> Change:
    return parameters(lambda some: [each for each in some if each.name != name])


def looped(mode: Change) -> Change:
    return lambda message: replace(message, cl_res_control_mode=mode(message.cl_res_control_mode))


def only_charging(message: dc.DC_ChargeParameterDiscoveryRes) -> dc.DC_ChargeParameterDiscoveryRes:
    kind, mode = dc.DC_CPDResEnergyTransferMode, message.dc_cpd_res_energy_transfer_mode
    plain = kind(**{name: getattr(mode, name) for name in kind.__struct_fields__})
    return replace(message, dc_cpd_res_energy_transfer_mode=plain)


def goals(message: cm.ScheduleExchangeRes) -> cm.ScheduleExchangeRes:
    dynamic = sched.Dynamic_SEResControlMode()
    return replace(message, scheduled_se_res_control_mode=None, dynamic_se_res_control_mode=dynamic)


def metered(**changes: Any) -> Change:
    return lambda message: replace(message, meter_info=replace(message.meter_info, **changes))


def counting(step_wh: int) -> Change:
    """Return a change of the loop: each response has counted so much more."""
    counts = itertools.count(5_000_000, step_wh)
    return lambda message: metered(charged_energy_reading_wh=next(counts))(message)


MEGAWATT: Final = RationalNumber(exponent=3, value=1000)

FAULTS_20: Final[tuple[tuple[Way, str, str, Change, str], ...]] = (
    (DC20, "dynamic", "SessionSetupRes", coded(ResponseCode.OK), "SessionSetupReq was answered OK, after which"),
    (DC20, "dynamic", "ServiceSelectionRes", coded(ResponseCode.WARNING_WPT), "with the code WARNING_WPT"),
    (DC20, "dynamic", "DC_CableCheckRes", coded(ResponseCode.OK_OldSessionJoined), "with the code OK_OldSessionJoined"),
    (DC20, "dynamic", "PowerDeliveryRes", lambda each: replace(each, header=replace(each.header, time_stamp=0)),
     "TimeStamp of another time"),
    (DC20, "dynamic", "ServiceDiscoveryRes", lambda each: replace(each, energy_transfer_service_list=cm.ServiceList(
        service=(cm.Service(service_id=1, free_service=True),))), "no energy service of DC"),
    (DC20, "dynamic", "ServiceDetailRes", sets(lambda some: (some[0], *some)), "parameter sets ["),
    (DC20, "dynamic", "ServiceDetailRes", parameters(lambda some: (*some, some[0])), " twice"),
    (DC20, "dynamic", "ServiceDetailRes", without("Pricing"), "without Pricing"),
    (DC20, "dynamic-bpt", "ServiceDetailRes", without("BPTChannel"), "without BPTChannel"),
    (AC20, "dynamic", "ServiceDetailRes", without("EVSENominalVoltage"), "without EVSENominalVoltage"),
    (DC20, "scheduled", "ServiceDetailRes", parameters(lambda some: [
        replace(each, int_value=2) if each.name == "MobilityNeedsMode" else each for each in some]),
     "of ControlMode 1 (Scheduled) with MobilityNeedsMode 2"),
    (DC20, "dynamic", "ServiceDetailRes", parameters(lambda some: [
        cm.Parameter(name=each.name, bool_value=True) if each.name == "Pricing" else each for each in some
    ]), "Pricing not as intValue"),
    (DC20, "dynamic-bpt", "DC_ChargeParameterDiscoveryRes", only_charging, "BPT_DC_CPDResEnergyTransferMode"),
    (DC20, "scheduled", "ScheduleExchangeRes", goals, "an answer for the mode Dynamic, selected was Scheduled"),
    (DC20, "scheduled", "ScheduleExchangeRes", scheduled(lambda some: (some[0], some[0])), "schedules ["),
    (DC20, "scheduled", "ScheduleExchangeRes", powers(-1000), "wrong: Power -1000, session not completed"),
    (DC20, "scheduled", "ScheduleExchangeRes", priced(currency="e1"), "currency 'e1'"),
    (DC20, "scheduled", "ScheduleExchangeRes", priced(price_algorithm="own"), "price algorithm 'own'"),
    (DC20, "scheduled", "ScheduleExchangeRes", priced(time_anchor=1000), "a schedule from 1000"),
    (DC20, "scheduled", "ScheduleExchangeRes", priced((5000, 0)), "prices from 5000 W, 0 W"),
    (DC20, "scheduled", "ScheduleExchangeRes", priced(minimum_cost=number(9), maximum_cost=number(5)),
     "a minimum cost of 9 above the maximum of 5"),
    (DC20, "scheduled", "ScheduleExchangeRes", priced(tax_rules=taxed(1, 1)), "tax rules [1, 1]"),
    (DC20, "dynamic", "DC_ChargeLoopRes", looped(lambda _: dc.Scheduled_DC_CLResControlMode()),
     "Scheduled_DC_CLResControlMode, that of the selected service is Dynamic_DC_CLResControlMode"),
    (DC20, "dynamic", "DC_ChargeLoopRes", lambda each: replace(each, evse_present_voltage=number(600)),
     "600 V at the output, "),
    (DC20, "dynamic", "PowerDeliveryRes", coded(ResponseCode.WARNING_StandbyNotAllowed),
     "WARNING_StandbyNotAllowed to PowerDeliveryReq (Start)"),
    (DC20, "dynamic", "DC_ChargeLoopRes", metered(meter_id=""), "a meter without an id"),
    (DC20, "dynamic", "DC_ChargeLoopRes", metered(meter_timestamp=946_684_800), "2000-01-01 00:00:00+00:00 as the"),
    (DC20, "dynamic", "DC_ChargeLoopRes", counting(100_000), "the meter counts 100000 Wh in "),
    (AC20, "dynamic", "AC_ChargeLoopRes", looped(lambda _: ac.Scheduled_AC_CLResControlMode()),
     "that of the selected service is Dynamic_AC_CLResControlMode"),
    (AC20, "dynamic", "AC_ChargeLoopRes", lambda each: replace(each, evse_target_frequency=number(0)),
     "EVSETargetFrequency 0 Hz"),
    (AC20, "dynamic", "AC_ChargeLoopRes", looped(lambda mode: replace(mode, evse_target_active_power=MEGAWATT)),
     "W, the charger's maximum is"),
    (AC20, "dynamic", "AC_ChargeLoopRes", looped(lambda mode: replace(
        mode, evse_present_active_power=MEGAWATT, evse_present_active_power_l2=number(0),
        evse_present_active_power_l3=number(0))), "1e+06 W flow"),
    (AC20, "dynamic", "AC_ChargeLoopRes", looped(lambda mode: replace(mode, evse_present_active_power=number(-9000))),
     "the vehicle feeds nothing back"),
)  # fmt: skip


@pytest.mark.some(4)
@pytest.mark.parametrize(("way", "ends", "response", "change", "found"), FAULTS_20)
def test_a_contradiction_fails_a_charger_of_20(
    pki: PkiTree, way: Way, ends: str, response: str, change: Change, found: str
) -> None:
    judged = result(pki, way, ends, response, change)
    assert judged.verdict is Verdict.FAIL, judged
    assert found in judged.found


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("way", "ends", "response", "change"),
    [
        (DC20, "scheduled", "ScheduleExchangeRes", priced(fee=-0.25)),
        (DC20, "scheduled-bpt", "ScheduleExchangeRes", powers(-1000, "discharging_schedule")),
        (AC20, "dynamic", "AC_ChargeLoopRes", looped(lambda mode: replace(mode, evse_present_active_power=number(0)))),
        (DC20, "dynamic", "DC_ChargeLoopRes", lambda each: replace(each, evse_present_voltage=number(401))),
        (DC20, "dynamic", "DC_ChargeLoopRes", counting(1000)),  # a meter of whole kWh
    ],
)
def test_what_is_allowed_blames_no_charger_of_20(
    pki: PkiTree, way: Way, ends: str, response: str, change: Change
) -> None:
    assert result(pki, way, ends, response, change).verdict is Verdict.PASS


def test_schedules_that_only_fill_an_unfinished_response_are_not_judged(pki: PkiTree) -> None:
    empty = powers(0)

    class Plans(SeccSession):
        """Has its schedules at the second request."""

        planned = False

        def _send(self, message: Any, *more: Any, **options: Any) -> None:
            if isinstance(message, cm.ScheduleExchangeRes) and not self.planned:
                self.planned = True
                self._later = message, more, options
                ongoing = replace(empty(message), evse_processing=Processing.Ongoing)
                super()._send(ongoing, *more)
            else:
                super()._send(message, *more, **options)

        def _on_request(self, request: Any, *, same_session: bool) -> None:
            if isinstance(request, cm.ScheduleExchangeReq) and self.planned:
                message, more, options = self._later
                super()._send(message, *more, **options)
            else:
                super()._on_request(request, same_session=same_session)

    judged = Rig(pki, Family.DC, config=EVERYTHING, kind=Plans).run(run_of(DC20, "scheduled"))
    assert judged.verdict is Verdict.PASS, judged


# -- bytes ---------------------------------------------------------------------------------------------------------


def stretched(frame: bytes, payload: bytes, length: int) -> bytes:
    """Return a frame with another payload, of which its header says this length."""
    return frame[:4] + length.to_bytes(4, "big") + payload


@pytest.mark.some(1)
@pytest.mark.parametrize("way", [DC20, DIN], ids=str)
@pytest.mark.parametrize(
    ("garble", "found"),
    [
        (lambda frame: stretched(frame, frame[8:] + b"\0", len(frame) - 7), "wrong: 1 octets after the end of the EXI"),
        (lambda frame: stretched(frame, frame[8:], len(frame)), "sends a V2GTP frame of more than the 12 octets that"),
        (lambda frame: stretched(frame, frame[8:-1], len(frame) - 9), "undecodable message: supportedAppProtocolRes: "),
    ],
)
def test_octets_that_do_not_fit_are_named(
    pki: PkiTree, pki_2: PkiTree, way: Way, garble: Callable[[bytes], bytes], found: str
) -> None:
    new = way.edition is Edition.ISO20
    kind = SeccSession if new else DinSession
    rig = Rig(pki if new else pki_2, way.family, config=EVERYTHING if new else STRICT, kind=kind, edition=way.edition)
    rig.garble = garble
    judged = rig.run(run_of(way, "dynamic" if new else "EIM"))
    assert judged.verdict is Verdict.FAIL, judged
    assert found in judged.found


def test_a_value_beyond_the_schema_is_named(pki_2: PkiTree) -> None:
    own = text(STRICT.evse_id)

    def garble(frame: bytes) -> bytes:
        if own not in bits(frame[8:]):
            return frame
        payload = exchanged(frame[8:], own, text("D" * 60))
        return stretched(frame, payload, len(payload))

    rig = Rig(pki_2, Family.DC, config=STRICT, kind=Iso2Session, edition=Edition.ISO2)
    rig.garble = garble
    judged = rig.run(run_of(DC2, "EIM"))
    assert "SessionSetupRes/EVSEID: length 60 where 7 to 37 characters is allowed" in judged.found, judged


# -- ISO 15118-2 and DIN 70121 ------------------------------------------------------------------------------------


def entries(*times: tuple[int, int]) -> Change:
    """Return a change of the schedules: one with entries of these starts and durations."""

    def put(message: Any) -> Any:
        first = message.sa_schedules.sa_schedule_tuple[0]
        known = first.p_max_schedule.p_max_schedule_entry[0]
        made = tuple(
            replace(known, time_interval=replace(known.time_interval, start=start, duration=duration))
            for start, duration in times
        )
        one = replace(first, p_max_schedule=replace(first.p_max_schedule, p_max_schedule_entry=made))
        return replace(message, sa_schedules=replace(message.sa_schedules, sa_schedule_tuple=(one,)))

    return put


def tariff(*levels: int) -> Change:
    """Return a change of the schedules: one with a tariff of two price levels."""

    def put(message: Any) -> Any:
        day = types_2.RelativeTimeInterval(start=0, duration=86_400)
        made = types_2.SalesTariff(
            sales_tariff_id=1,
            num_e_price_levels=2,
            sales_tariff_entry=tuple(
                types_2.SalesTariffEntry(time_interval=day, e_price_level=each) for each in levels
            ),
        )
        one = replace(message.sa_schedules.sa_schedule_tuple[0], sales_tariff=made)
        return replace(message, sa_schedules=replace(message.sa_schedules, sa_schedule_tuple=(one,)))

    return put


AC_STATUS: Final = types_2.AC_EVSEStatus(
    notification_max_delay=0, evse_notification=types_2.EVSENotification("None"), rcd=False
)
VOLTS_600: Final = VALUES_2.voltage(600_000, Rounding.NEAREST)
PLANNED: Final = "ChargeParameterDiscoveryRes"

FAULTS_2: Final[tuple[tuple[Way, str, Change, str], ...]] = (
    (DIN, "CableCheckRes", lambda each: replace(each, response_code=type(each.response_code).OK_OldSessionJoined),
     "CableCheckRes with the code OK_OldSessionJoined"),
    (DIN, "ServiceDiscoveryRes", lambda each: replace(each, charge_service=replace(
        each.charge_service, energy_transfer_type=type(each.charge_service.energy_transfer_type).DC_dual)),
     "energy transfer type DC_dual"),
    (DC2, "PowerDeliveryRes", lambda each: replace(each, evse_status=AC_STATUS),
     "AC_EVSEStatus for a vehicle that charges by DC"),
    (DC2, "CurrentDemandRes", lambda each: replace(each, evse_present_voltage=VOLTS_600),
     "600 V at the output, 400 V were requested"),
    (AC2, PLANNED, entries((0, 600), (3600, 86_400)), "from 0 s to 600 s before that from 3600 s"),
    (DIN, PLANNED, entries((0, 7200), (3600, 86_400)), "from 0 s to 7200 s before that from 3600 s"),
    (AC2, PLANNED, tariff(3), "price level 3 of a tariff of 2"),
    (AC2, PLANNED, tariff(1, 2), "a tariff with an entry from 0 s to 86400 s before that from 0 s"),
)  # fmt: skip


@pytest.mark.some(2)
@pytest.mark.parametrize(("way", "response", "change", "found"), FAULTS_2)
def test_a_contradiction_fails_a_charger_of_an_older_edition(
    pki_2: PkiTree, way: Way, response: str, change: Change, found: str
) -> None:
    judged = result(pki_2, way, "EIM", response, change)
    assert judged.verdict is Verdict.FAIL, judged
    assert found in judged.found


@pytest.mark.parametrize(
    ("way", "change"), [(AC2, tariff(2)), (DIN, entries((0, 3600), (3600, 86_400)))], ids=["tariff", "entries"]
)
def test_sound_schedules_pass(pki_2: PkiTree, way: Way, change: Change) -> None:
    assert result(pki_2, way, "EIM", PLANNED, change).verdict is Verdict.PASS


def test_a_challenge_that_is_given_twice_is_noticed(pki_2: PkiTree) -> None:
    judged = result(pki_2, DC2, "challenge", "PaymentDetailsRes", lambda each: replace(each, gen_challenge=b"7" * 16))
    assert (judged.verdict, judged.found) == (Verdict.FAIL, "gives a challenge that it has given before")
