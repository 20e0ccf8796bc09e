"""Loads an owner's own discharge policy: a Python file with a function `decide(situation)` that returns a Permit."""

from collections.abc import Callable
from pathlib import Path

from evcc.policy.policy import POLICY_FAILED, OwnPolicy, Permit, Situation
from v2g.errors import ConfigError
from v2g.io.runtime.program import read_config
from v2g.observe import Observe


def load_policy(path: Path, observe: Callable[[Observe], None]) -> OwnPolicy:
    """Return the policy in a file, which others must not be able to read or change. Raises ConfigError.

    A policy that raises an exception, or returns anything but a Permit, permits nothing; `observe` gets the error.
    """
    text = read_config(path)
    names: dict[str, object] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(compile(text, str(path), "exec"), names)  # noqa: S102 - the owner's own program
    except Exception as error:  # noqa: BLE001 - whatever that program does
        raise ConfigError(f"{path}: {type(error).__name__}: {error}", hint="run it with python to see where") from None
    decide = names.get("decide")
    if not callable(decide):
        raise ConfigError(f"{path} has no function decide", hint="def decide(situation): return Permit(...)")
    reported = ""

    def ask(situation: Situation) -> Permit:
        nonlocal reported
        try:
            answer = decide(situation)
            if not isinstance(answer, Permit):
                raise TypeError(f"decide returned {type(answer).__name__}, not a Permit")
        except Exception as error:  # noqa: BLE001 - whatever that program does
            if (why := f"{type(error).__name__}: {error}") != reported:
                reported = why
                observe(Observe("power", "policy_failed", {"file": str(path), "error": why}))
            return Permit(0, POLICY_FAILED)
        return answer

    return ask
