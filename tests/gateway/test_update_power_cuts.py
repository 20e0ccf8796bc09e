"""Power cuts at every write of a gateway's update: images, slots, and what the follower keeps (`update.json`,
`release.json`, `installed.json`, the repository's metadata)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.powered import Gateway, one_release
from tests.io.ota.maker import Maker
from tests.power_cuts import PowerCuts, laid_out
from tests.station.device.file_server import FileServer

OLD, NEW = b"old", b"new"


def slot(folder: Path, name: str) -> bytes:
    """Return the image of a slot."""
    path = folder / "slots" / name
    return (folder / "slots" / (path.read_text() if path.exists() else "a") / "image").read_bytes()


def folders(folder: Path, maker: Maker, server: FileServer, *, answers: bool) -> Gateway:
    way = {"slots": folder / "slots"}
    return Gateway(folder, maker, server, way, lambda: slot(folder, "runs"), answers=answers)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Maker, FileServer]]:
    with one_release(tmp_path, NEW) as found:
        yield found


@pytest.mark.requirement("R133", "R135", "R140")
@pytest.mark.parametrize(
    ("answers", "every"),
    [(True, 4), pytest.param(True, 1, marks=pytest.mark.long), pytest.param(False, 1, marks=pytest.mark.long)],
)
@pytest.mark.long
async def test_a_power_cut_at_any_write_leaves_a_whole_slot_and_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: tuple[Maker, FileServer], answers: bool, every: int
) -> None:
    """What was confirmed stays, even if the back end is silent then; what fails is left alone for good. A power cut is
    no failure: what is good is tried again, and stays."""
    (old := tmp_path / "gateway" / "slots" / "a" / "image").parent.mkdir(parents=True)
    old.write_bytes(OLD)
    gateway = folders(tmp_path / "gateway", *site, answers=answers)
    monkeypatch.setattr(os, "kill", lambda *_: gateway.ends.set())
    cuts = PowerCuts(gateway.folder)
    with cuts.recording(monkeypatch):
        await gateway.live()
    assert gateway.events == ["update_began", "update_confirmed" if answers else "update_failed"]
    assert len(cuts.states) > 60, len(cuts.states)
    ends, seen = set(), set()
    for number, state in [*enumerate(cuts.states)][::every]:
        for name in ("update.json", "release.json", "installed.json"):
            assert json.loads(state.get(f"update/{name}", b"{}")) is not None, number
        whole = frozenset(each for each in state.items() if not Path(each[0]).name.startswith((".", "tmp")))
        if whole in seen or (not answers and "update/update.json" not in state):
            continue  # but for incomplete files, or as in the other case
        seen.add(whole)
        folder = laid_out(state, tmp_path / str(number))
        gateway = folders(folder, *site, answers=answers and state.get("slots/active") != b"b")
        await gateway.live()
        assert set(gateway.started) <= {OLD, NEW}, number
        failed, end = "update_failed" in gateway.events, slot(folder, "active")
        if state.get("slots/active") == b"b":
            assert gateway.started == [NEW], number
        elif answers:
            assert (gateway.started.count(NEW) <= 1, end, failed) == (True, NEW, False), (number, gateway.started)
        else:
            assert (gateway.started.count(NEW) <= 1, end) == (True, OLD), (number, gateway.started)
        before = len(gateway.started)
        await gateway.live()
        assert gateway.started[before:] == [end], number
        ends.add((end, failed))
    assert ends == ({(NEW, False)} if answers else {(OLD, True), (OLD, False)})
