"""Recordings of ISO 15118-2 and -20 are replayed at both roles: no session ends that went on when it was recorded.

They are this project's own and those of an independent implementation, see `tests/vectors/iso15118/README.md`: no
public recording of real devices exists.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from evcc.policy.battery import BatteryConfig
from evcc.session.settings import AuthorizationConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.session.config import EnergyService, SeccConfig
from tests.evcc.session.bench import Bench as Vehicle20
from tests.evcc.session.bench import Identities
from tests.evcc.session.d2.charger import Bench2
from tests.secc.session.bench import Bench as Charger20
from tests.secc.session.d2.bench import Iso2Bench
from v2g import exi
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g.iso15118.d20.session import decode_payload
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.judging_rules import RULES
from v2g.iso15118.engine.sequence import accepts, is_failed
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import frame

pytestmark = pytest.mark.requirement("R197")

FOLDER = Path(__file__).parents[1] / "vectors" / "iso15118"
FILES = sorted(FOLDER.glob("*.jsonl"))
EVERY = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
LOOPS = frozenset({"ChargingStatusRes", "CurrentDemandRes", "DC_ChargeLoopRes", "AC_ChargeLoopRes"})


LISTED = {"iso20_dc_peer": "power_not_obeyed"}
"""Recording -> the end by a rule of our vehicle: this charger gives 9 kW beside its own limit of 1 kW."""
KILOWATT = RationalNumber(exponent=3, value=1)


class Recorded(NamedTuple):
    """A message with its octets; `kind` is the type of its payload."""

    sender: str
    kind: int
    message: Any
    payload: bytes

    @property
    def body(self) -> Any:
        return body_of(self.message)


def is_20(file: Path) -> bool:
    return file.stem.startswith("iso20")


def service_of(file: Path) -> str:
    """Return the energy service: DC, DC_BPT, AC or AC_BPT."""
    _, *service, _ = file.stem.split("_")
    return "_".join(service).upper()


def recording(file: Path) -> list[Recorded]:
    found = []
    for number, line in enumerate(file.read_text().splitlines()):
        each = json.loads(line)
        payload = bytes.fromhex(each["exi_hex"])
        if is_20(file):
            message, _ = decode_payload(each["payload_type"], payload, Family(service_of(file)[:2]))
        else:
            message, _ = decode_message(payload, ISO2, handshake=number < 2)
        found.append(Recorded(each["sender"], each["payload_type"], message, payload))
    return found


def value(number: Any) -> float:
    """Return a physical value of -2 or a rational number of -20."""
    return float(number.value * 10 ** (number.exponent if hasattr(number, "exponent") else number.multiplier))


def dynamic(recorded: list[Recorded]) -> bool:
    """Return whether the recorded session is in dynamic mode."""
    modes = [getattr(each.body, "cl_req_control_mode", None) for each in recorded]
    return any("Dynamic" in type(mode).__name__ for mode in modes)


def vehicle(file: Path, recorded: list[Recorded], identities: Identities) -> Any:
    """Return a bench of our vehicle that wants the same, and charges for as long as the recording goes on."""
    config = SessionConfig(
        program=(ProgramStep(do="charge", energy_wh=10_000),),
        services=ServiceConfig(
            energy=(service_of(file),),  # type: ignore[arg-type]
            control_mode=("dynamic" if dynamic(recorded) else "scheduled",),
        ),
        authorization=AuthorizationConfig(allow_eim=True),
    )
    targets = [value(each.body.ev_target_voltage) for each in recorded if hasattr(each.body, "ev_target_voltage")]
    volts = targets[0] if targets else 400.0  # the recorded charger follows the recorded battery
    battery = BatteryConfig(
        soc=50.0, ocv=((0.0, volts - 1), (100.0, volts + 1)), min_voltage_v=volts / 2, max_voltage_v=volts + 100
    )
    if is_20(file):
        return Vehicle20(identities, config, contract=False, tls=False, battery=battery)
    return Bench2(config, battery=battery)


@pytest.fixture(scope="module")
def identities() -> Identities:
    return Identities()


@EVERY
def test_a_recorded_charger_keeps_our_vehicle(file: Path, identities: Identities) -> None:
    recorded = recording(file)
    bench = vehicle(file, recorded, identities)
    left = [each for each in recorded if each.sender == "charger"]
    loops = sum(type(each.body).__name__ in LOOPS for each in left)
    bench.start()
    taken = []
    for _ in range(10 * len(recorded)):
        if bench.closed or not left or len([name for name in taken if name in LOOPS]) == loops:
            break
        if not bench.unanswered:
            bench.wait()
            continue
        wanted = type(bench.unanswered.pop(0)).__name__.removesuffix("Req") + "Res"
        while left and type(left[0].body).__name__ != wanted:
            left.pop(0)
        if not left:
            break
        answer = left.pop(0)
        taken.append(wanted)
        bench.pass_time(0.05)
        follow(bench, answer.body)
        if wanted == "PreChargeRes" and not any(type(each.body) is type(answer.body) for each in left):
            bench.charger.voltage = bench.model.state.voltage_mv / 1000  # as the recorded vehicle measured meanwhile
            bench.battery()
        bench.receive(frame(answer.kind, answer.payload))
    if file.stem in LISTED:
        assert bench.closed == LISTED[file.stem] in {each.name for each in RULES}
        return
    assert (bench.closed, bench.seen("stop", "stopping"), bench.seen("session", "failed")) == ("", [], [])
    assert len([name for name in taken if name in LOOPS]) == loops >= 3, (
        "our vehicle asked until the recording was over"
    )


def follow(bench: Any, answer: Any) -> None:
    """Let the output be what the charger reports; alternating current is drawn by the vehicle."""
    if type(answer).__name__ in ("ChargingStatusRes", "CurrentDemandRes", "DC_ChargeLoopRes"):
        bench.drive()
    if hasattr(answer, "evse_present_voltage"):
        bench.charger.voltage = value(answer.evse_present_voltage)
        current = getattr(answer, "evse_present_current", None)
        bench.charger.current = 0.0 if current is None else value(current)
    bench.battery()


@EVERY
def test_a_recorded_vehicle_is_served_by_our_charger(pki: PkiTree, file: Path) -> None:
    """It gives its own SessionID, and in -20 the number that the set of parameters has at our charger."""
    recorded = recording(file)
    if is_20(file):
        services = (EnergyService[service_of(file)],)
        config = SeccConfig(services=services, authorization=(cm.Authorization.EIM,))
        bench: Any = Charger20(pki, 1_700_000_000_000, config)
    else:
        bench = Iso2Bench(pki, 1_700_000_000_000, alternating=service_of(file) == "AC")
    asked = [each for each in recorded if each.sender == "vehicle"]
    before = None
    for each in asked:
        repeated = type(each.body) is before and not accepts(bench.session.state, each.body, bench.session.chart)
        before = type(each.body)
        if repeated:  # our charger was faster
            continue
        count = len(bench.responses)
        bench.pass_time(0.05)
        bench.raw(frame(each.kind, exi.encode(adapted(each.message, bench, mode=2 if dynamic(recorded) else 1))))
        if len(bench.responses) == count:
            bench.pass_time(0.5)
        assert len(bench.responses) == count + 1, (type(each.body).__name__, bench.reason)
        assert not is_failed(bench.responses[-1]), (bench.responses[-1], bench.events("request_failed"))
    assert bench.reason in ("", "finished")


def adapted(message: Any, bench: Any, *, mode: int) -> Any:
    """Return a request with the SessionID of this session, and the set of parameters of the same control mode."""
    if isinstance(message, SupportedAppProtocolReq):
        return message
    begun = any(type(each).__name__ == "SessionSetupRes" for each in bench.responses)
    if begun:
        message = replace(message, header=replace(message.header, session_id=bench.session.session_id))
    if isinstance(message, cm.ServiceSelectionReq):
        (detail,) = (each for each in bench.responses if isinstance(each, cm.ServiceDetailRes))
        number = next(
            each.parameter_set_id
            for each in detail.service_parameter_list.parameter_set
            if any(one.name == "ControlMode" and one.int_value == mode for one in each.parameter)
        )
        service = replace(message.selected_energy_transfer_service, parameter_set_id=number)
        message = replace(message, selected_energy_transfer_service=service)
    profile = getattr(message, "ev_power_profile", None)
    if profile is not None and bench.session.family is Family.AC:  # within the power of this charger
        (entry,) = profile.ev_power_profile_entries.ev_power_profile_entry
        entries = replace(profile.ev_power_profile_entries, ev_power_profile_entry=(replace(entry, power=KILOWATT),))
        message = replace(message, ev_power_profile=replace(profile, ev_power_profile_entries=entries))
    return message
