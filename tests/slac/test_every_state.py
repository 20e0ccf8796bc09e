"""Every state of either role against every message, right and wrong: nothing raises, nothing but the chart's own steps
happens, and the core can still match afterwards."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tests.slac.benches import EV, EVSE, FLAT, STRANGER, Bench, EvBench, EvseBench
from tests.together import together
from v2g.slac import mme, vendor
from v2g.slac.control import ModemControl
from v2g.slac.ev import EvState
from v2g.slac.evse import EvseSlacState, RunState
from v2g.slac.layout import Mme, MmeLayout, Sized, codec_of

MESSAGES = [codec.message for codec in mme.CODECS.values()]

_VALUES: dict[str, Any] = {
    "pev_mac": EV,
    "evse_mac": EVSE,
    "source_address": EV,
    "nid": b"network",
    "aag": FLAT,
    "num_groups": 58,
    "num_sounds": 10,
    "cnt": 3,
    "link_status": 1,
    "amlen": 4,
    "amplitudes": bytes(2),
    "networks": (),
    "stations": (),
}


def _right(message: type[Mme], bench: Bench, **changes: Any) -> Mme:
    """Return the message as the peer, or the modem, of the bench would send it."""
    values: dict[str, Any] = {}
    known = _VALUES | {"run_id": bench.run_id, "forwarding_sta": EV}
    for field in msgspec.structs.fields(message):
        if field.name in changes:
            values[field.name] = changes[field.name]
        elif field.name in known:
            values[field.name] = known[field.name]
        elif field.default is msgspec.NODEFAULT:
            layout = codec_of(message).layout(field.name)
            is_bytes = isinstance(layout, MmeLayout) and layout.code.endswith("s")
            values[field.name] = bytes(layout.size) if is_bytes else b"" if isinstance(layout, Sized) else 0
    if message is mme.CmSetKeyCnf:
        values["result"] = 1
    return message(**values)


_FROM_ANYBODY = (mme.CmSlacParmReq, mme.CmSlacParmCnf, mme.CmAttenCharInd)
"""Messages by which another station begins to take part."""


def _from_modem(message: type[Mme]) -> bool:
    return bool(message.OUI) or message in (mme.CmSetKeyCnf, mme.CmNwStatsCnf, mme.CmAttenProfileInd, mme.CmGetKeyCnf)


def _wrong(message: type[Mme], bench: Bench) -> Iterator[tuple[Mme, dict[str, bytes]]]:
    """Yield the message with one thing wrong: another run, station, address; and the like."""
    right = _right(message, bench)
    fields = {field.name for field in msgspec.structs.fields(message)}
    for name, value in (
        ("run_id", b"another!"),
        ("forwarding_sta", STRANGER),
        ("pev_mac", STRANGER),
        ("evse_mac", STRANGER),
        ("source_address", STRANGER),
        ("resp_type", 0),
        ("m_sound_target", EV),
        ("num_sounds", 0),
        ("signal_type", 7),
    ):
        if name in fields and not (name == "run_id" and message is mme.CmSlacParmReq):
            yield msgspec.structs.replace(right, **{name: value}), {}
    yield right, {"destination": STRANGER}
    if not _from_modem(message) and message not in _FROM_ANYBODY:
        yield right, {"source": STRANGER}


def _alive(bench: Bench) -> None:
    """Nothing is due in the past, and there is not more than the timers that have names."""
    deadline = bench.core.deadline()
    assert deadline is None or deadline >= bench.now
    assert bench.core._timers.keys() <= ModemControl.TIMERS | {
        "map", "response", "batch", "results", "validation", "join", "pause", "resume", "connection", "runs",
        "slac_init", "oscillator",
    }  # fmt: skip


# -- vehicle ------------------------------------------------------------------------------------------------------

EV_STEPS: dict[tuple[EvState, type[Mme]], EvState] = {
    (EvState.ASKING, mme.CmSlacParmCnf): EvState.SOUNDING,
    (EvState.COLLECTING, mme.CmAttenCharInd): EvState.CHOOSING,
    (EvState.CHOOSING, mme.CmSlacMatchCnf): EvState.KEYING,
    (EvState.KEYING, mme.CmSetKeyCnf): EvState.JOINING,
    (EvState.JOINING, vendor.VsPlLinkStatusCnf): EvState.MATCHED,
    (EvState.JOINING, vendor.NscmGetDLinkStatusCnf): EvState.MATCHED,
    (EvState.RESUMING, vendor.VsPlLinkStatusCnf): EvState.MATCHED,
    (EvState.RESUMING, vendor.NscmGetDLinkStatusCnf): EvState.MATCHED,
    (EvState.MATCHED, mme.CmNwStatsCnf): EvState.UNMATCHED,  # of no station: the link is gone
}
"""All that one message, as it should be, may change."""


@together("state", EvState)
def test_vehicle(state: EvState) -> None:
    for message in MESSAGES:
        bench = EvBench().reach(state)
        source = bench.modem if _from_modem(message) else EVSE
        right = _right(message, bench)
        bench.tell(right, source=source)
        assert bench.core.state is EV_STEPS.get((state, message), state), message
        _alive(bench)
        _still_matches_as_vehicle(bench)


@together("state", EvState)
def test_vehicle_with_something_wrong(state: EvState) -> None:
    for message in MESSAGES:
        bench = EvBench().reach(state)
        for wrong, addresses in _wrong(message, bench):
            source = bench.modem if _from_modem(message) else EVSE
            answers = bench.tell(wrong, **({"source": source} | addresses))
            assert bench.core.state is state, wrong
            assert message is mme.CmAmpMapReq or not [a for a in answers if not isinstance(a, mme.CmAttenCharRsp)], (
                wrong
            )
            _alive(bench)


def _still_matches_as_vehicle(bench: EvBench) -> None:
    bench.core.leave(bench.now)
    bench.take()
    bench.key_taken()
    bench.key_taken()  # of the key that had to wait
    bench.core.start(bench.now)
    bench.take()
    bench.choose()
    assert [type(m) for m in bench.confirm()] == [mme.CmSetKeyReq]


# -- charger ------------------------------------------------------------------------------------------------------

EVSE_STEPS: dict[tuple[EvseSlacState | RunState, type[Mme]], EvseSlacState | RunState | None] = {
    (EvseSlacState.MATCHING, mme.CmSlacParmReq): RunState.START,
    (RunState.START, mme.CmStartAttenCharInd): RunState.SOUNDS,
    (RunState.RESPONSE, mme.CmAttenCharRsp): RunState.DECISION,
    (RunState.RESPONSE, mme.CmSlacMatchReq): None,
    (RunState.DECISION, mme.CmValidateReq): RunState.TOGGLE,
    (RunState.DECISION, mme.CmSlacMatchReq): None,
    (EvseSlacState.JOINING, mme.CmSlacParmReq): RunState.START,
    (EvseSlacState.JOINING, vendor.VsPlLinkStatusCnf): EvseSlacState.MATCHED,
    (EvseSlacState.JOINING, vendor.NscmGetDLinkStatusCnf): EvseSlacState.MATCHED,
    (EvseSlacState.RESUMING, vendor.VsPlLinkStatusCnf): EvseSlacState.MATCHED,
    (EvseSlacState.RESUMING, vendor.NscmGetDLinkStatusCnf): EvseSlacState.MATCHED,
    (EvseSlacState.MATCHED, mme.CmNwStatsCnf): EvseSlacState.MATCHING,  # of no station: the link is gone
    **{(state, mme.CmSlacParmReq): RunState.START for state in RunState},
}
"""All that one message, as it should be, may change: of the run, or where there is none, of the charger."""

RUN_STATES = [state for state in RunState if state is not RunState.OVER]


def _run(state: RunState) -> EvseBench:
    """Return a charger with one run in `state`."""
    bench = EvseBench()
    bench.tell(mme.CmSlacParmReq(run_id=bench.run_id))
    if state is RunState.START:
        return bench
    bench.tell(mme.CmStartAttenCharInd(forwarding_sta=EV, run_id=bench.run_id))
    if state is RunState.PROFILES:
        for number in range(10):
            bench.tell(mme.CmMnbcSoundInd(cnt=9 - number, run_id=bench.run_id, rnd=bytes(16)))
    elif state is not RunState.SOUNDS:
        bench.sound()
        if state is not RunState.RESPONSE:
            bench.tell(mme.CmAttenCharRsp(source_address=EV, run_id=bench.run_id))
        if state in (RunState.TOGGLE, RunState.WINDOW):
            bench.tell(mme.CmValidateReq())
        if state is RunState.WINDOW:
            bench.tell(mme.CmValidateReq(timer=8))
    assert _state(bench) is state
    return bench


def _state(bench: EvseBench) -> EvseSlacState | RunState:
    runs = list(bench.core._runs.values())
    return runs[0].state if runs else bench.core.state


def _benches() -> Iterator[tuple[EvseSlacState | RunState, Any]]:
    for state in EvseSlacState:
        yield state, lambda state=state: EvseBench().reach(state)
    for run in RUN_STATES:
        yield run, lambda run=run: _run(run)


@together(("state", "make"), list(_benches()))
def test_charger(state: EvseSlacState | RunState, make: Any) -> None:
    for message in MESSAGES:
        bench = make()
        source = bench.modem if _from_modem(message) else EV
        bench.tell(_right(message, bench), source=source)
        expected = EVSE_STEPS.get((state, message), state)
        if expected is None:
            expected = EvseSlacState.JOINING
        assert _state(bench) is expected, message
        _alive(bench)
        _still_matches_as_charger(bench)


@together(("state", "make"), list(_benches()))
def test_charger_with_something_wrong(state: EvseSlacState | RunState, make: Any) -> None:
    for message in MESSAGES:
        bench = make()
        for wrong, addresses in _wrong(message, bench):
            if message is mme.CmAttenProfileInd:
                continue  # one of a vehicle that nobody knows is the only wrong one, and says nothing
            source = bench.modem if _from_modem(message) else EV
            answers = bench.tell(wrong, **({"source": source} | addresses))
            validating = state in (RunState.TOGGLE, RunState.WINDOW) and isinstance(wrong, mme.CmValidateReq)
            if validating and wrong.signal_type:
                assert _state(bench) is EvseSlacState.MATCHING, "broken off"
                break
            assert _state(bench) is state, wrong
            assert message is mme.CmAmpMapReq or answers == [], wrong
            _alive(bench)


def _still_matches_as_charger(bench: EvseBench) -> None:
    bench.core.disconnect(bench.now)
    bench.take()
    bench.key_taken()
    bench.core.connect(bench.now)
    bench.take()
    bench.key_taken()
    bench.characterize()
    assert bench.match()
