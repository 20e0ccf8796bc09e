"""Policies that owners write themselves: a file with a function, and what is wrong with it said once."""

from pathlib import Path

import pytest

from evcc.config import load_policy
from evcc.policy.battery import Battery, BatteryConfig
from evcc.policy.policy import POLICY_FAILED, Permit, Situation
from v2g.errors import ConfigError
from v2g.observe import Observe

SITUATION = Situation(
    permitted_w=7_000,
    battery=Battery(BatteryConfig(), at_ms=0).state,
    terms=None,
    utc_ms=0,
    departure_ms=1,
    fed_back_wh=0.0,
)


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "my_policy.py"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("half", ["situation.permitted_w // 2", "situation.permitted_w * 0.50005"])
def test_a_file_with_a_function_is_a_policy(tmp_path: Path, half: str) -> None:
    text = f"from evcc.policy.policy import Permit\ndef decide(situation):\n    return Permit({half})\n"
    permit = load_policy(written(tmp_path, text), lambda _: None)(SITUATION)
    assert (permit, type(permit.power_w)) == (Permit(3_500), int)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7000", "decide returned int"),
        ("return None", "decide returned NoneType"),
        ("from evcc.policy.policy import Permit; return Permit('7000')", "not str"),
        ("from evcc.policy.policy import Permit; return Permit(float('nan'))", "cannot convert float NaN"),
        ("raise ValueError('no idea')", "ValueError: no idea"),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("return situation.nothing", "nothing"),
        ("import threading; threading.Event().wait()", "longer than 0.2 s"),
    ],
)
def test_a_policy_that_fails_permits_nothing_and_says_so_once(tmp_path: Path, body: str, said: str) -> None:
    seen: list[Observe] = []
    ask = load_policy(written(tmp_path, f"def decide(situation):\n    {body}\n"), seen.append)
    assert [ask(SITUATION) for _ in range(3)] == [Permit(0, POLICY_FAILED)] * 3
    (event,) = seen
    assert (event.stage, event.name) == ("power", "policy_failed")
    assert said in str(event.data["error"])


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("def decide(", 0o600, "SyntaxError"),
        ("import nothing_of_the_kind", 0o600, "nothing_of_the_kind"),
        ("decide = 3", 0o600, "no function decide"),
        ("def decide(s): ...", 0o666, "others may"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_policy(written(tmp_path, text, mode), lambda _: None)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_policy(tmp_path / "none.py", lambda _: None)
