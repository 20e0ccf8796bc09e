"""A lost, lying or flapping source of any language: time alone raises no power, and what replaced it is named."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.grid.rules import SITE, SiteLimits, SourceSignal, combine, governing
from v2g.eebus.limitation import LimitWrite, PowerLimitation
from v2g.energy.grid_signal import GridSignal
from v2g.ieee2030_5.controls import ControlResponse, ProgramState, demanded
from v2g.ieee2030_5.resources import Control, ControlBase, Program

OWN = SiteLimits(
    currency="EUR", import_limit_w=40_000, export_limit_w=20_000,
    sources=("eebus", "scada", "ieee2030.5", "openadr:V"),
)  # fmt: skip
SAFE = 16_000, 2_000
DEAD_S, OUTAGE_S, FAILSAFE_S = 60, 900, 7_200
PROGRAM = Program(mrid="A1", primacy=1, controls_path="/c", default_path="/d")


class Sources:
    """Four sources that speak, lie, flap and fall silent; each is judged by what the product judges it by."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.box = [PowerLimitation(failsafe_w=safe, now=self.now) for safe in (16_800, 1_000)]
        self.scada = SourceSignal(source="scada").abandoned(SAFE, "nobody has written")
        self.written_s: int | None = None
        self.controls: tuple[Control, ...] = ()
        self.known: dict[str, ControlResponse] = {}
        self.polled_s: int | None = None
        self.events: tuple[int, int] | None = None
        self.answered_s = self.now
        self.signal: GridSignal | None = None

    def say(self, source: str, import_w: int, export_w: int) -> None:
        """Have a source command something, whatever it is."""
        match source:
            case "eebus":
                for limitation, value_w in zip(self.box, (import_w, export_w), strict=True):
                    limitation.heartbeat(self.now)
                    limitation.write(LimitWrite(value_w=value_w, active=True, lasts_s=0), self.now)
            case "scada":
                self.written_s = self.now
                self.scada = SourceSignal(
                    source="scada", import_limit_w=max(0, import_w), export_limit_w=max(0, export_w),
                    export_until_ms=(self.now + OUTAGE_S) * 1000,
                )  # fmt: skip
            case "ieee2030.5":
                self.polled_s = self.now
                base = ControlBase(import_limit_w=max(0, import_w), export_limit_w=max(0, export_w))
                control = Control(
                    mrid=f"C{len(self.controls)}", base=base, start_s=self.now, duration_s=10**8, creation_s=self.now
                )
                self.controls = (*self.controls, control)
            case _:
                self.answered_s, self.events = self.now, (max(0, import_w), max(0, export_w))

    def stated(self) -> list[SourceSignal]:
        """Return what each states now."""
        found = []
        for each in self.box:
            each.tick(self.now, FAILSAFE_S)
        charge_w, discharge_w = (each.limit_w for each in self.box)
        found.append(SourceSignal(source="eebus", import_limit_w=_whole(charge_w), export_limit_w=_whole(discharge_w)))
        if self.written_s is not None and self.now - self.written_s >= DEAD_S:
            self.scada, self.written_s = self.scada.abandoned(SAFE, "nobody writes"), None
        found.append(self.scada)
        if self.polled_s is not None:
            state = ProgramState(program=PROGRAM, controls=self.controls)
            force = demanded((state,), self.now, device="D", known=self.known)
            self.known = dict(force.states)
            until_ms = (self.polled_s + OUTAGE_S) * 1000
            base = force.base
            found.append(
                SourceSignal(
                    source="ieee2030.5",
                    import_limit_w=base.import_limit_w,
                    export_limit_w=base.export_limit_w,
                    export_until_ms=until_ms,
                )
            )
        if self.events is not None:
            import_w, export_w = self.events
            until_ms = (self.answered_s + OUTAGE_S) * 1000
            found.append(
                SourceSignal(
                    source="openadr:V", import_limit_w=import_w, export_limit_w=export_w, export_until_ms=until_ms
                )
            )
        return found

    def in_force(self) -> tuple[int, int]:
        """Return the limits in force, of a signal whose export has ended 0."""
        now_ms = self.now * 1000
        self.signal = combine(OWN, self.stated(), self.signal, now_ms) or self.signal
        assert self.signal is not None
        export_w = self.signal.export_limit_w if now_ms < self.signal.valid_until_ms else 0
        return self.signal.site_import_limit_w, export_w


def _whole(power_w: float | None) -> int | None:
    return None if power_w is None else min(10_000_000, round(power_w))


_SAID = st.tuples(st.sampled_from(OWN.sources), st.integers(-5_000, 10_000_000), st.integers(-5_000, 10_000_000))
_WAITS = st.tuples(st.just(""), st.sampled_from((1, 30, 59, 60, 61, 119, 120, 121, 899, 901, 7_201)), st.just(0))


@pytest.mark.requirement("R56", "R206", "R208")
@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_SAID, _WAITS), max_size=25))
def test_time_alone_raises_no_power_and_the_binding_source_is_named(steps: list[tuple[str, int, int]]) -> None:
    """Of a box, a control centre, a utility's server and a VTN; nor does any word raise more than the site permits."""
    found = Sources()
    before = found.in_force()
    for source, first, second in steps:
        if source:
            found.say(source, first, second)
        else:
            found.now += first
        after = found.in_force()
        assert after[0] <= OWN.import_limit_w
        assert after[1] <= OWN.export_limit_w
        stated = {each.source: each for each in found.stated()}
        for each in stated.values():
            assert each.import_limit_w is None or after[0] <= each.import_limit_w
            assert each.export_limit_w is None or after[1] <= each.export_limit_w
        if not source:
            assert after[0] <= before[0], "silence raises nothing"
            assert after[1] <= before[1], "silence raises nothing"
        by = governing(OWN, list(stated.values()), found.now * 1000)
        own = SourceSignal(source=SITE, import_limit_w=OWN.import_limit_w, export_limit_w=OWN.export_limit_w)
        binding = (stated | {SITE: own})[by.import_source]
        assert binding.import_limit_w == after[0]
        ended = (stated | {SITE: own})[by.export_source]
        assert after[1] in (ended.export_limit_w, 0)
        before = after


def test_what_replaced_a_lost_system_is_named_and_its_own_preset_is_no_written_limit() -> None:
    """A safe state that was raised in the configuration applies; a lower limit that was written does not end."""
    written = SourceSignal(source="scada", import_limit_w=9_000, export_limit_w=5_000)
    lost = written.abandoned(SAFE, "silence")
    assert (lost.import_limit_w, lost.export_limit_w, lost.problem) == (
        9_000, 2_000, "silence: a lower written limit stays",
    )  # fmt: skip
    assert lost.abandoned(SAFE, "silence") == lost
    safe = SourceSignal(source="scada").abandoned(SAFE, "silence")
    assert (safe.import_limit_w, safe.problem) == (16_000, "silence: the safe state applies")
    assert safe.abandoned((20_000, 0), "silence").import_limit_w == 20_000
    assert msgspec.structs.replace(lost, problem="").abandoned((5_000, 0), "x").import_limit_w == 5_000
