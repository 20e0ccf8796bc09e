"""Timers and counters are those that the sources show, and what must be done at once is."""

import msgspec
import pytest

from tests.slac.conftest import Line
from v2g.slac import mme
from v2g.slac.shared import FAST, MAX_VALIDATION_S, PARAMETERS, STANDARD, Matched, SlacTiming, TimingParameter

PERFORMANCE = (
    TimingParameter("TP_EV_SLAC_init", "ev", 0, 10, "MS RN; TSe 15"),
    TimingParameter("TP_match_response", "both", 0, 0.1, "MS TS"),
    TimingParameter("TP_match_sequence", "ev", 0, 0.1, "TS PP"),
    TimingParameter("TP_EV_match_session", "ev", 0, 0.5, "MS TSe"),
    TimingParameter("TP_match_leave", "both", 0, 1, "TS RN"),
    TimingParameter("TP_link_ready_notification", "both", 0, 1, "MS TSe: 0.2-1 s"),
    TimingParameter("TP_amp_map_exchange", "both", 0, 0.2, "MS TSe 0.1, RN 0.2"),
    TimingParameter("TP_EV_vald_toggle", "ev", 0.6, 3.5, "TSe"),
    TimingParameter("TT_EVSE_vald_toggle", "evse", 0, 3.5, "EV TSe"),
    TimingParameter("T_conn_init_HLC", "both", 0.2, 0.2, "TSe; meaning unknown, not used"),
)
"""Limits for actions that are immediate here, so there is nothing to configure."""

REFERENCE = {
    "TT_EVSE_SLAC_init": (20, 50),
    "TT_match_response": (0.2, 0.2),
    "TT_match_sequence": (0.4, 0.4),
    "TP_EV_batch_msg_interval": (0.02, 0.05),
    "TT_EVSE_match_MNBC": (0.6, 0.6),
    "TP_EVSE_avg_atten_calc": (0, 0.1),
    "TT_EV_atten_results": (1.2, 1.2),
    "TT_EVSE_match_session": (10, 10),
    "TT_match_join": (10, 12),
    "TT_matching_repetition": (10, None),
    "TT_matching_rate": (0.4, None),
    "TP_EV_vald_state_duration": (0.2, 0.4),
    "T_vald_detect_time": (0.2, 0.2),
    "T_step_EF": (4, 8),
    "T_step_X1": (3, 3),
    "T_conn_max_comm": (8, 8),
    "T_conn_resume": (6, 6),
    "T_conn_resetup": (15, 15),
    "C_EV_start_atten_char_inds": (3, 3),
    "C_EV_match_retry": (2, None),
    "C_sequ_retry": (2, 2),
    "C_EVSE_match_parallel": (4, 16),
    "C_EV_vald_nb_toggles": (1, 3),
}
"""Published values, apart from the declarations."""


def test_every_value_is_declared_with_name_role_and_source_and_lies_within_its_bounds() -> None:
    assert PARAMETERS.keys() == set(SlacTiming.__struct_fields__)
    for field, parameter in PARAMETERS.items():
        assert parameter.lowest <= getattr(STANDARD, field) <= parameter.highest, field
        assert parameter.role in ("ev", "evse", "both")
        assert parameter.source
        assert parameter.name or parameter.source.startswith("own"), field


def test_names_and_values_are_the_published_ones() -> None:
    declared = {parameter.name: getattr(STANDARD, field) for field, parameter in PARAMETERS.items() if parameter.name}
    for name, (lowest, highest) in REFERENCE.items():
        assert lowest <= declared[name], name
        assert highest is None or declared[name] <= highest, name
    assert mme.NUM_SOUNDS == 10
    assert mme.TIME_OUT == 6
    assert MAX_VALIDATION_S == 3.5


def test_the_fast_profile_shortens_pauses_only() -> None:
    shorter = {field for field in SlacTiming.__struct_fields__ if getattr(FAST, field) != getattr(STANDARD, field)}
    assert shorter == {
        "batch_interval_s", "profile_grace_s", "join_poll_s", "matching_rate_s", "step_ef_s", "step_x1_s"
    }  # fmt: skip


def test_values_can_be_configured_and_unknown_names_are_refused() -> None:
    assert msgspec.convert({"match_join_s": 10}, SlacTiming).match_join_s == 10
    with pytest.raises(msgspec.ValidationError, match="unknown field `match_jion_s`"):
        msgspec.convert({"match_jion_s": 10}, SlacTiming)


def test_answers_and_steps_come_within_their_performance_times(line: Line) -> None:
    bounds = {parameter.name: parameter.highest for parameter in PERFORMANCE}
    evse_station, _ = line.evse()
    ev_station, _ = line.ev()
    line.plug(ev_station, evse_station)
    line.run(5.0)
    first: dict[type, float] = {}
    last: dict[type, float] = {}
    for at, frame in line.sent:
        first.setdefault(type(frame.message), at)
        last[type(frame.message)] = at
    assert first[mme.CmSlacParmReq] <= bounds["TP_EV_SLAC_init"]
    assert first[mme.CmSlacParmCnf] - first[mme.CmSlacParmReq] <= bounds["TP_match_response"]
    assert first[mme.CmStartAttenCharInd] - first[mme.CmSlacParmCnf] <= bounds["TP_match_sequence"]
    assert first[mme.CmAttenCharInd] - last[mme.CmMnbcSoundInd] <= 0.1
    assert first[mme.CmSlacMatchReq] - first[mme.CmAttenCharRsp] <= bounds["TP_EV_match_session"]
    assert first[mme.CmSlacMatchCnf] - first[mme.CmSlacMatchReq] <= bounds["TP_match_response"]
    ready = next(at for at, what in zip(ev_station.times, ev_station.done, strict=True) if isinstance(what, Matched))
    assert ready - first[mme.CmSlacMatchCnf] <= bounds["TP_link_ready_notification"]
