"""Slots in folders: what each step leaves, and what the boot loader starts then."""

import shutil
from pathlib import Path

import pytest

from v2g.errors import InstallError
from v2g.io.ota.folder_installer import FolderInstaller
from v2g.io.ota.installer import open_installer

pytestmark = pytest.mark.requirement("R133", "R135")


class Slots:
    """A device with slots, and how often it has restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.restarts = folder / "slots", 0
        (folder / "image").write_bytes(b"new")
        self.new = folder / "image"
        self.installer = FolderInstaller(self.folder, self.restart)

    def restart(self) -> None:
        self.restarts += 1

    def files(self) -> dict[str, str]:
        return {each.name: each.read_text() for each in self.folder.iterdir() if each.is_file()}


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path)


async def test_a_device_that_was_never_updated_runs_the_first_slot(slots: Slots) -> None:
    assert sorted(each.name for each in slots.folder.iterdir()) == ["a", "b"]
    assert slots.installer.image() is None
    (slots.folder / "a" / "image").write_bytes(b"old")
    assert slots.installer.image() == slots.folder / "a" / "image"
    assert await slots.installer.running() == "a"
    assert slots.files() == {"runs": "a"}


async def test_confirmed_before_its_first_boot_is_the_first_slot(slots: Slots) -> None:
    await slots.installer.confirm()
    assert slots.files() == {"active": "a"}


async def test_each_switch_restarts_the_device(slots: Slots) -> None:
    await slots.installer.install(slots.new)
    await slots.installer.activate()
    assert (slots.restarts, slots.files()) == (1, {"runs": "a", "once": "b"})
    assert slots.installer.boot() == "b"
    assert slots.installer.image() == slots.folder / "b" / "image"
    await slots.installer.roll_back()
    assert (slots.restarts, slots.files(), slots.installer.boot()) == (2, {"runs": "b"}, "a")


async def test_a_trial_that_has_not_begun_is_called_off(slots: Slots) -> None:
    await slots.installer.install(slots.new)
    await slots.installer.activate()
    await slots.installer.roll_back()
    assert (slots.files(), slots.installer.boot()) == ({"runs": "a"}, "a")


async def test_back_and_forth_each_slot_takes_its_turn(slots: Slots) -> None:
    for expected in ("b", "a", "b"):
        await slots.installer.install(slots.new)
        await slots.installer.activate()
        assert slots.installer.boot() == expected
        await slots.installer.confirm()
        assert (slots.installer.boot(), slots.files()) == (expected, {"runs": expected, "active": expected})


async def test_a_slot_that_does_not_hold_what_was_written_keeps_its_image(
    slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slots.folder / "b" / "image").write_bytes(b"before")
    monkeypatch.setattr(shutil, "copyfile", lambda _source, target: target.write_bytes(b"torn"))
    with pytest.raises(InstallError, match="slot b does not contain") as raised:
        await slots.installer.install(slots.new)
    assert raised.value.verification
    assert (slots.folder / "b" / "image").read_bytes() == b"before"


async def test_an_image_that_is_gone_is_named(slots: Slots) -> None:
    slots.new.unlink()
    with pytest.raises(InstallError, match="slot b: No such file") as raised:
        await slots.installer.install(slots.new)
    assert not raised.value.verification


async def test_opened_it_starts_what_is_on_trial(slots: Slots) -> None:
    await slots.installer.install(slots.new)
    await slots.installer.activate()
    again = open_installer(None, None, slots.folder, restart=slots.restart)
    assert (await again.running(), slots.files()) == ("b", {"runs": "b"})
    await again.roll_back()
    assert slots.restarts == 2
