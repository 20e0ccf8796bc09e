"""The report of a script: every call, every expectation and every error, for each station."""

from collections.abc import Iterable, Iterator

import msgspec

from csms.script.declared import Script
from csms.script.station import CallState, ScriptedLine, Watch


class Check(msgspec.Struct, frozen=True):
    """One check, and its result."""

    station: str
    what: str
    ok: bool
    detail: str = ""


class Report(msgspec.Struct, frozen=True):
    """A run: its checks, and how many requests of each action each station sent."""

    checks: tuple[Check, ...]
    requests: dict[str, dict[str, int]]

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
        return all(check.ok for check in self.checks)


def report(script: Script, lines: Iterable[ScriptedLine], now: float) -> Report:
    """Return the report if the run ends now."""
    lines = list(lines)
    checks = [check for line in lines for check in _checks(script, line, now)]
    if not lines:
        checks = [Check("", "a station connects", ok=False, detail="none did")]
    return Report(tuple(checks), {line.station_id: dict(sorted(line.requests.items())) for line in lines})


def settled(script: Script, lines: Iterable[ScriptedLine], now: float) -> bool:
    """Return whether the report is final, apart from further errors.

    A script without calls and expectations is never final; one with `at_most` only at the end of its
    time.
    """
    lines = list(lines)
    if not lines or not (script.calls or script.expect):
        return False
    if script.duration_s is not None and any(each.at_most is not None for each in script.expect):
        return False
    return all(
        all(state.done for state in line.calls) and all(watch.met(now) or watch.failed(now) for watch in line.watches)
        for line in lines
    )


def _checks(script: Script, line: ScriptedLine, now: float) -> Iterator[Check]:
    for state in line.calls:
        yield _call(line.station_id, state)
    for watch in line.watches:
        yield _expectation(line.station_id, watch, now)
    if script.strict:
        detail = "; ".join(line.problems[:5])
        more = f"; and {len(line.problems) - 5} more" if len(line.problems) > 5 else ""
        yield Check(
            line.station_id, "frames conform to OCPP-J and the schemas", ok=not line.problems, detail=detail + more
        )


def _call(station: str, state: CallState) -> Check:
    if not state.done and not state.problems:
        detail = "never sent" if state.sent == 0 else f"answered {state.answered} of {state.call.times} times"
        return Check(station, state.name, ok=False, detail=detail)
    return Check(station, state.name, ok=not state.problems, detail="; ".join(state.problems))


def _expectation(station: str, watch: Watch, now: float) -> Check:
    expected = watch.expected
    name = expected.name or expected.action
    if watch.met(now):
        return Check(station, name, ok=True, detail=f"{watch.count} times")
    if watch.since is None:
        return Check(station, name, ok=False, detail=f"{expected.after} was never sent")
    wanted = f"at least {expected.at_least}"
    if expected.at_most is not None:
        wanted += f", at most {expected.at_most}"
    if expected.within_s is not None:
        wanted += f" within {expected.within_s:g} s"
    late = watch.reached is not None and watch.failed(now) and watch.count <= (expected.at_most or watch.count)
    after = f", after {watch.reached - watch.since:.1f} s" if late and watch.reached is not None else ""
    return Check(station, name, ok=False, detail=f"{watch.count} times{after}; expected {wanted}")
