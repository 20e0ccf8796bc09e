"""Patches instead of whole images, and downloads that break (R134)."""

import hashlib
import io
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from detools import create_patch

from tests.io.ota.maker import HARDWARE, Maker
from tests.station.device.file_server import FileServer, file_server
from v2g.errors import ConfigError, InstallError, TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.ota.releases import Releases
from v2g.observe import Observe
from v2g.ota.release import RepositoryConfig, patch_name

pytestmark = pytest.mark.requirement("R134")

CHANCE = random.Random(1)
OLD = CHANCE.randbytes(200_000)
NEW = OLD[:90_000] + b"a change" + OLD[90_000:150_000] + OLD[160_000:]
PATCH = patch_name("new.img", 1)


class Charger:
    """Runs the old image, in a slot that is larger than it, and sees a maker's repository on a server."""

    def __init__(self, folder: Path, server: FileServer, *, number: int = 1, hardware: str = HARDWARE) -> None:
        self.server, self.maker = server, Maker(folder)
        self.maker.release("old.img", 1, image=OLD)
        self.maker.release("new.img", 2, image=NEW)
        self.patch = self.maker.repository.add_patch("new.img", "old.img", self.maker.now)
        self.maker.publish()
        self.slot, self.folder = folder / "slot", folder / "firmware"
        self.slot.write_bytes(OLD + bytes(5000))
        self.folder.mkdir()
        self.running: Path | None = self.slot
        self.notes: list[str] = []
        config = RepositoryConfig(root=self.maker.root, url=f"{server.url}/r", hardware=hardware, number=number)
        self.releases = Releases(config, lambda: self.folder, lambda: None, lambda: self.running, self._observe)  # type: ignore[arg-type,return-value]
        self.mirror()

    def _observe(self, event: Observe) -> None:
        self.notes.append(event.name)

    def mirror(self) -> None:
        for each in self.maker.path("").glob("*.json"):
            self.server.files[f"/r/metadata/{each.name}"] = each.read_bytes()
        for each in (self.maker.repository.folder / "targets").iterdir():
            self.server.files[f"/r/targets/{each.name}"] = each.read_bytes()

    def fetch(self, name: str = "new.img") -> bytes:
        """Return what is downloaded; its digest is right."""
        self.server.paths.clear()
        image = self.folder / "image"
        image.unlink(missing_ok=True)
        digest = self.releases.fetch(f"{self.server.url}/r/targets/{name}?token=a/b", image, Cancel(), 60.0)
        assert hashlib.sha256(image.read_bytes()).digest() == digest
        assert not list(self.folder.glob(".release.*"))
        return image.read_bytes()

    def read(self) -> list[str]:
        """Return the images and patches that were asked for."""
        return [each.rpartition("/")[2] for each in self.server.paths if "/targets/" in each]


@pytest.fixture
def charger(tmp_path: Path) -> Iterator[Charger]:
    with file_server() as server:
        yield Charger(tmp_path, server)


def test_the_difference_alone_is_read(charger: Charger) -> None:
    assert charger.patch.length < len(NEW) / 20
    assert charger.fetch() == NEW
    assert charger.read() == [PATCH]
    charger.releases.check(hashlib.sha256(NEW).digest())


def other_bytes(charger: Charger) -> None:
    charger.slot.write_bytes(OLD[:-1] + b"x")


def a_shorter_slot(charger: Charger) -> None:
    charger.slot.write_bytes(OLD[:1000])


def no_slot(charger: Charger) -> None:
    charger.running = None


def another_patch(charger: Charger) -> None:
    charger.server.files[f"/r/targets/{PATCH}"] = bytes(charger.patch.length)


def no_patch(charger: Charger) -> None:
    del charger.server.files[f"/r/targets/{PATCH}"]


def a_longer_patch(charger: Charger) -> None:
    charger.server.files[f"/r/targets/{PATCH}"] += b"x"


def relisted(charger: Charger, data: bytes) -> None:
    """Let three holders list other content as the patch."""
    repository = charger.maker.repository
    metadata = next(each for each in repository.published() if each.signed.type == "targets")
    old = metadata.signed.targets[PATCH]
    repository.withdraw(PATCH, charger.maker.now)
    (draft,) = repository.drafts()
    old.length, old.hashes = len(data), {"sha256": hashlib.sha256(data).hexdigest()}
    draft.signed.targets[PATCH] = old
    (repository.folder / "drafts" / "targets.json").write_bytes(draft.to_bytes())
    (repository.folder / "targets" / PATCH).write_bytes(data)
    charger.maker.publish()
    charger.mirror()


def a_signed_patch_that_is_none(charger: Charger) -> None:
    relisted(charger, b"\xff" * 100)


def a_signed_patch_that_makes_something_else(charger: Charger) -> None:
    into = io.BytesIO()
    create_patch(io.BytesIO(OLD), io.BytesIO(NEW + bytes(1000)), into)
    relisted(charger, into.getvalue())


def a_signed_patch_that_makes_as_much_of_something_else(charger: Charger) -> None:
    into = io.BytesIO()
    create_patch(io.BytesIO(OLD), io.BytesIO(NEW[:-1] + b"x"), into)
    relisted(charger, into.getvalue())


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("mistake", "patch_read"),
    [
        (other_bytes, False),
        (a_shorter_slot, False),
        (no_slot, False),
        (another_patch, True),
        (no_patch, True),
        (a_longer_patch, True),
        (a_signed_patch_that_is_none, True),
        (a_signed_patch_that_makes_something_else, True),
        (a_signed_patch_that_makes_as_much_of_something_else, True),
    ],
)
def test_without_a_patch_that_fits_the_image_is_read_as_a_whole(
    charger: Charger, mistake: Any, patch_read: bool
) -> None:
    mistake(charger)
    assert charger.fetch() == NEW
    assert charger.read() == [PATCH] * patch_read + ["new.img"]
    assert charger.notes == ["patch_failed"] * patch_read


def test_a_charger_without_the_library_reads_whole_images(charger: Charger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's packages have it."""
    monkeypatch.setitem(sys.modules, "detools", None)
    assert charger.fetch() == NEW
    assert charger.read() == ["new.img"]


def test_a_patch_is_no_image(charger: Charger) -> None:
    with pytest.raises(InstallError, match="is a patch"):
        charger.fetch(PATCH)


def test_a_download_goes_on_where_it_broke(charger: Charger) -> None:
    """Each attempt reads what is missing; in the end the image is whole."""
    charger.running = None
    charger.server.breaks_after = 60_000
    for _ in range(3):
        with pytest.raises(TransferError) as broken:
            charger.fetch()
        assert not broken.value.lasting
    assert charger.fetch() == NEW
    assert charger.server.sent <= len(NEW) + 4 * 65536


def test_a_server_without_ranges_begins_anew(charger: Charger) -> None:
    charger.running = None
    charger.server.breaks_after = 60_000
    with pytest.raises(TransferError):
        charger.fetch()
    charger.server.breaks_after, charger.server.ranges = 0, False
    assert charger.fetch() == NEW


def test_a_patch_goes_on_where_it_broke(charger: Charger) -> None:
    charger.server.breaks_after = charger.patch.length // 2
    with pytest.raises(TransferError):
        charger.fetch()
    charger.server.breaks_after = 0
    assert charger.fetch() == NEW
    assert charger.read() == [PATCH]


def test_what_was_downloaded_is_compared_again_before_it_is_installed(charger: Charger) -> None:
    digest = hashlib.sha256(NEW).digest()
    with pytest.raises(InstallError, match="not compared"):
        charger.releases.check(digest)
    charger.fetch()
    charger.releases.check(digest)
    with pytest.raises(InstallError, match="not compared"):
        charger.releases.check(bytes(32))
    (charger.folder / "installed.json").write_text("3")
    with pytest.raises(InstallError, match="older than 3"):
        charger.releases.check(digest)


def test_an_image_that_is_not_the_released_one_is_refused(charger: Charger) -> None:
    charger.running = None  # without a patch
    for image, said in ((NEW[:-1] + b"x", "not the file"), (NEW + b"x", "larger than")):
        charger.server.files["/r/targets/new.img"] = image
        with pytest.raises(InstallError, match=said) as refused:
            charger.fetch()
        assert refused.value.verification


def test_what_was_left_of_a_download_is_compared_whole(charger: Charger) -> None:
    charger.running = None
    part = charger.folder / f".release.{hashlib.sha256(NEW).hexdigest()[:32]}"
    part.write_bytes(NEW + b"x")
    with pytest.raises(InstallError, match="not the file"):
        charger.fetch()
    assert charger.fetch() == NEW


def test_the_newest_release_for_this_hardware_is_followed_unless_it_has_run(charger: Charger, tmp_path: Path) -> None:
    charger.maker.release("other.img", 3, "other")
    charger.mirror()
    for installed, name in ((1, "new.img"), (2, None), (3, None)):
        (charger.folder / "installed.json").write_text(str(installed))
        found = charger.releases.newest()
        assert (found.name if found else None) == name
    (charger.folder / "installed.json").unlink()
    charger.fetch()
    assert [each.name for each in charger.folder.iterdir() if each.is_dir()] == ["releases"], (
        "one memory of what was seen"
    )
    (tmp_path / "another").mkdir()
    assert Charger(tmp_path / "another", charger.server, hardware="another").releases.newest() is None


def test_the_number_that_has_run_never_falls(charger: Charger) -> None:
    charger.releases.keep_installed()
    assert not (charger.folder / "installed.json").exists()
    charger.fetch()
    charger.releases.keep_installed()
    assert msgspec.json.decode((charger.folder / "installed.json").read_bytes()) == 2
    assert charger.releases.installed() == ("new.img", 2)
    (charger.folder / "installed.json").write_text("7")
    charger.releases.keep_installed()
    assert (charger.folder / "installed.json").read_text() == "7"
    assert charger.releases.installed() == ("", 7)
    (charger.folder / "installed.json").write_text("{")
    charger.releases.keep_installed()
    assert charger.notes == ["step_failed"]
    with pytest.raises(InstallError, match=r"installed\.json"):
        charger.fetch()


def test_patches_are_of_what_is_released(charger: Charger) -> None:
    for name, old in (("new.img", "none.img"), ("none.img", "old.img"), ("new.img", PATCH)):
        with pytest.raises(ConfigError, match="not released"):
            charger.maker.repository.add_patch(name, old, charger.maker.now)
