"""Takes a device back from new firmware that ends before any of its own code runs, such as a missing module (R135).

It is outside of what an update may break: it imports nothing of v2g-engine, and reads no configuration. As
`/usr/share/v2g/trial.py`:

- `trial.py start SLOTS COMMAND...` is the boot loader of slots in folders: it replaces itself with a command, in which
  `{image}` is the image of the slot to start. What is on trial is started once.
- `trial.py ended` is what the units run when a service has ended (ExecStopPost). The firmware before has left in
  `update.json` by which commands to go back.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

MOST_ENDS: Final = 3
"""How often new firmware may end before its own code counts that."""


def start(slots: Path, command: list[str]) -> NoReturn:
    """Start the slot on trial once, else the permanent one."""
    tried = slots / "tried"
    try:
        (slots / "once").replace(tried)
    except FileNotFoundError:  # what was tried, if anything, has ended before it took note of its start
        tried.unlink(missing_ok=True)
    permanent = slots / "active"
    named = next((each.read_bytes() for each in (tried, permanent) if each.exists()), b"a")
    image = slots / ("b" if named == b"b" else "a") / "image"
    words = [each.replace("{image}", str(image)) for each in command]
    os.execvp(words[0], words)  # noqa: S606 - as a boot loader does


def ended(folder: Path, *, hung: bool) -> None:
    """Go back from what is on trial after its third failure, or its first if it hung until a time limit.

    `folder` has the state of updates somewhere in it.
    """
    for path in (each for depth in ("", "*/", "*/*/") for each in folder.glob(f"{depth}update.json")):
        state: dict[str, Any] = json.loads(path.read_text())
        running, *back = state.get("back") or [None]
        if running is None or state.get("phase") not in ("activating", "activated", "trial"):
            continue
        if _slot(subprocess.run(running, capture_output=True, text=True, check=True).stdout) == state["old"]:
            continue
        state["ends"] = MOST_ENDS if hung else state.get("ends", 0) + 1
        if state["ends"] >= MOST_ENDS:
            why = "it hung before it could begin" if hung else f"it ended {MOST_ENDS} times before it could begin"
            state |= {"phase": "trial", "tries": MOST_ENDS, "why": why}
        written = path.with_name(".update.json")
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
        if state["ends"] >= MOST_ENDS:
            print("back to the old firmware:", state["why"], file=sys.stderr)
            for each in back:
                subprocess.run(each, check=True)


def _slot(printed: str) -> str:
    """Return the name of the running slot, as a maker's command or RAUC's status says it."""
    last = printed.strip().rpartition("\n")[2]
    return str(json.loads(last)["booted"]) if last.startswith("{") else last.strip()


def main() -> None:
    """Run as a script."""
    try:
        match sys.argv[1:]:
            case ["start", slots, *command] if command:
                start(Path(slots), command)
            case ["ended"]:
                if (result := os.environ.get("SERVICE_RESULT", "success")) != "success":
                    ended(Path(os.environ["STATE_DIRECTORY"]), hung=result == "timeout")
            case _:
                sys.exit(__doc__)
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, AttributeError, TypeError) as error:
        sys.exit(f"cannot go back to the old firmware: {error!r}")


if __name__ == "__main__":
    main()
