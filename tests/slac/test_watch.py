"""A watcher of the line reports what both sides know: stages, chargers, attenuation, who was chosen."""

from hypothesis import given
from hypothesis import strategies as st

from tests.memory import held
from tests.slac.conftest import Line
from v2g.slac import mme
from v2g.slac.mme import MmeFrame
from v2g.slac.modem import AttenuationConfig
from v2g.slac.shared import Matched
from v2g.slac.watch import CONVERSATIONS, STAGES, SlacWatch

PEV, EVSE = bytes.fromhex("020000000201"), bytes.fromhex("020000000101")


def test_a_matching_among_two_chargers_is_followed_to_its_end() -> None:
    line = Line()
    evse, _ = line.evse(1, measures=AttenuationConfig(low_db=4, high_db=6))
    line.evse(2, measures=AttenuationConfig(low_db=30, high_db=34))
    ev, _ = line.ev(1)
    line.plug(ev, evse)
    line.run(20.0)
    watch = SlacWatch()
    for at, frame in line.sent:
        watch.take(mme.encode(frame), int(at * 1e9))
    (seen,) = watch.conversations
    (matched,) = [action for action in ev.done if isinstance(action, Matched)]
    assert seen.pev == ev.core.mac.hex(":")
    assert seen.chosen == matched.evse_mac.hex(":") == evse.core.mac.hex(":")
    assert seen.nid == matched.nid.hex()
    assert set(seen.chargers) >= {evse.core.mac.hex(":")}
    found = {each.evse: each.average_db for each in seen.measured}
    assert found[seen.chosen] == round(matched.attenuation_db, 1)
    assert seen.sounds == 10
    names = [stage for stage, _ in seen.steps]
    assert names == [stage for stage in STAGES if stage in names], "in order"
    assert (names[0], names[-1]) == ("asking", "matched")
    times = [after for _, after in seen.steps]
    assert times == sorted(times)


def _parameters(run: int, source: bytes = PEV) -> bytes:
    return mme.encode(MmeFrame(mme.BROADCAST, source, mme.CmSlacParmReq(run_id=run.to_bytes(8, "big"))))


def test_repeated_requests_are_one_matching_and_new_runs_another() -> None:
    watch = SlacWatch()
    for run in (1, 1, 1, 2):
        watch.take(_parameters(run), run)
    assert [(each.run_id[-1], each.requests) for each in watch.conversations] == [("1", 3), ("2", 1)]


def test_a_vehicle_that_begins_again_with_the_same_run_id_leaves_its_first_matching() -> None:
    watch = SlacWatch()
    answer = mme.encode(MmeFrame(PEV, EVSE, mme.CmSlacParmCnf(run_id=bytes(7) + b"\x01", forwarding_sta=PEV)))
    watch.take(_parameters(1), 1)
    watch.take(answer, 2)
    watch.take(_parameters(1), 3)
    assert [each.stage for each in watch.conversations] == ["answered", "asking"]
    watch.take(answer, 4)
    assert [each.stage for each in watch.conversations] == ["answered", "answered"]


def test_an_answer_with_another_run_id_is_shown_as_ignored() -> None:
    """A charger that put the vehicle's address there (pyPLC, 2023-05-03) left a Porsche Taycan asking."""
    watch = SlacWatch()
    watch.take(_parameters(1), 1)
    wrong = mme.CmSlacParmCnf(run_id=PEV + bytes(2), forwarding_sta=PEV)
    assert watch.take(mme.encode(MmeFrame(PEV, EVSE, wrong)), 2) is None
    (seen,) = watch.conversations
    assert (seen.stage, seen.chargers) == ("asking", ())
    assert seen.ignored == "02:00:00:00:01:01 answers with run 0200000002010000"


def test_a_flood_of_vehicles_is_forgotten_from_the_oldest_on() -> None:
    watch = SlacWatch()
    for number in range(1000):
        watch.take(_parameters(number, b"\x02" + number.to_bytes(5, "big")), number)
    assert len(watch.conversations) == CONVERSATIONS
    at_most = held(watch)
    for number in range(1000, 3000):
        watch.take(_parameters(number, b"\x02" + number.to_bytes(5, "big")), number)
    assert held(watch) <= at_most
    assert watch.conversations[-1].run_id == f"{2999:016x}"


@given(st.lists(st.binary(max_size=140) | st.sampled_from([_parameters(1), _parameters(2, EVSE)]), max_size=20))
def test_any_frames_are_looked_at_without_harm(frames: list[bytes]) -> None:
    watch = SlacWatch()
    for number, frame in enumerate(frames):
        watch.take(frame, number)
        watch.take(b"\xff" * 6 + PEV + b"\x88\xe1" + frame, number)
