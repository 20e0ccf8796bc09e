"""`v2g ota`: five people keep a repository of releases, three of whom release."""

import gc
import json
import stat
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import Run
from v2g.pki.keys import SoftwareKey, load_public_key

pytestmark = pytest.mark.requirement("R139", "R147")

HOLDERS = "abcde"


@pytest.fixture
def folder(v2g: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keys of all holders, a repository that nobody has signed yet, and an image."""
    monkeypatch.chdir(tmp_path)
    for name in (*HOLDERS, "online"):
        assert v2g("ota", "key", f"{name}.key", "--public", f"{name}.pem").code == 0
    options = [each for name in HOLDERS for each in ("--root-key", f"{name}.pem", "--targets-key", f"{name}.pem")]
    online = ["--snapshot-key", "online.pem", "--timestamp-key", "online.pem"]
    assert v2g("ota", "init", "releases", *options, *online).code == 0
    Path("charger-0.3.0.img").write_bytes(b"image")
    return tmp_path


PUBLISH = ("ota", "publish", "releases", "--snapshot-key", "online.key", "--timestamp-key", "online.key")
ADD = ("ota", "add", "releases", "charger-0.3.0.img", "--number", "30", "--hardware", "dc30")
VERIFY = ("ota", "verify", "releases", "charger-0.3.0.img", "--root", "releases/metadata/1.root.json")
SHARED = ("ota", "key", "x", "--public", "x.pem", "--shares", "2")
ALL_BY_ONE = [each for role in ("root", "targets", "snapshot", "timestamp") for each in (f"--{role}-key", "a.pem")]


def test_a_release_needs_three_of_five(v2g: Run, folder: Path) -> None:
    assert v2g(*ADD).output == "root 1: 0 of 3 signatures\ntargets 1: 0 of 3 signatures\n"
    for name in "ab":
        signed = v2g("ota", "sign", "releases", "--key", f"{name}.key")
    assert signed.output.startswith("charger-0.3.0.img: release 30 for dc30, sha256 6105d6cc")
    refused = v2g(*PUBLISH)
    assert (refused.code, "root 1 has 2 of 3 signatures" in refused.errors) == (2, True)
    assert v2g(*VERIFY, "--hardware", "dc30").code != 0
    assert v2g("ota", "sign", "releases", "--key", "c.key").output.count("ready to publish") == 2
    published = v2g(*PUBLISH)
    assert [line.split(":")[0] for line in published.output.splitlines()] == [
        "root 1",
        "targets 1",
        "snapshot 1",
        "timestamp 1",
    ]
    assert v2g(*VERIFY, "--hardware", "dc30").output.startswith("charger-0.3.0.img: release 30, 5 octets")
    for other in (("--hardware", "ac22"), ("--hardware", "dc30", "--installed", "31")):
        refused = v2g(*VERIFY, *other)
        assert (refused.code, refused.output, refused.errors.startswith("v2g: release 30 is")) == (8, "", True)


def test_the_list_of_its_components_is_signed_with_an_image(v2g: Run, folder: Path) -> None:
    """Another one, or one for an image without, is refused; devices load neither."""
    Path("sbom.json").write_text('{"bomFormat": "CycloneDX"}')
    assert v2g(*ADD, "--components", "none.json").code == 2
    assert v2g(*ADD, "--components", "sbom.json").code == 0
    Path("plain.img").write_bytes(b"other")
    assert v2g("ota", "add", "releases", "plain.img", "--number", "31", "--hardware", "ac22").code == 0
    for name in "abc":
        assert v2g("ota", "sign", "releases", "--key", f"{name}.key").code == 0
    assert v2g(*PUBLISH).code == 0
    there = Path("releases/targets/charger-0.3.0.img.cdx.json")
    assert there.read_text() == '{"bomFormat": "CycloneDX"}'
    assert v2g(*VERIFY, "--hardware", "dc30", "--components", str(there)).code == 0
    shown = [json.loads(line) for line in v2g("ota", "show", "releases", "--json").output.splitlines()]
    assert [each["release"] for each in shown if "release" in each] == ["charger-0.3.0.img", "plain.img"]
    there.write_text("{}")
    plain = ("ota", "verify", "releases", "plain.img", *VERIFY[4:], "--hardware", "ac22")
    for words, file in (((*VERIFY, "--hardware", "dc30"), str(there)), (plain, "sbom.json")):
        refused = v2g(*words, "--components", file)
        assert (refused.code, "is not the list of components" in refused.errors) == (8, True)


def test_holders_may_sign_copies(v2g: Run, folder: Path) -> None:
    """On a stick: the draft is copied to each, and the signatures are joined. A changed copy is refused."""
    v2g(*ADD)
    for name in "abc":
        copy = folder / name
        (copy / "drafts").mkdir(parents=True)
        for each in (folder / "releases" / "drafts").iterdir():
            (copy / "drafts" / each.name).write_bytes(each.read_bytes())
        assert v2g("ota", "sign", name, "--key", f"{name}.key").code == 0
    joined = [
        each for name in "ab" for role in ("root", "targets") for each in ("--join", f"{name}/drafts/{role}.json")
    ]
    assert v2g("ota", "sign", "releases", "--key", "c.key", *joined).output.count("ready to publish") == 2
    draft = folder / "a" / "drafts" / "targets.json"
    draft.write_text(draft.read_text().replace("dc30", "dc31"))
    refused = v2g("ota", "sign", "releases", "--key", "c.key", "--join", str(draft))
    assert (refused.code, "not a copy of the draft" in refused.errors) == (2, True)


@pytest.fixture
def shared(v2g: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A repository whose root and targets are one key in five shares, with a draft of a release; the five sheets."""
    monkeypatch.chdir(tmp_path)
    made = v2g("ota", "key", "board.sealed", "--public", "board.pem", "--shares", "5", "--holder", "Ada")
    assert made.code == 0, made.errors
    assert "10 trial joins of 3 shares restored the key" in made.output
    v2g("ota", "key", "online.key", "--public", "online.pem")
    options = [each.replace("a.pem", "board.pem") for each in ALL_BY_ONE[:4]]
    online = ["--snapshot-key", "online.pem", "--timestamp-key", "online.pem"]
    assert v2g("ota", "init", "releases", *options, *online).code == 0
    Path("charger-0.3.0.img").write_bytes(b"image")
    assert v2g(*ADD).code == 0
    return [f"board-share-{number}-of-5.txt" for number in range(1, 6)]


def by(*sheets: str) -> list[str]:
    return ["ota", "sign", "releases", "--sealed", "board.sealed", *(x for each in sheets for x in ("--share", each))]


def test_a_key_in_shares_signs_with_three_of_five(v2g: Run, shared: list[str]) -> None:
    """Root and release are then what python-tuf's client believes; no file has the key, and no memory afterwards."""
    assert {stat.S_IMODE(Path(each).stat().st_mode) for each in shared} == {0o600}
    sheet = Path(shared[0]).read_text()
    assert sheet.startswith("KEY SHARE 1 OF 5\n")
    assert "Key          board\n" in sheet
    assert "Holder       Ada\n" in sheet
    assert v2g("pki", "ceremony", "check", "board.sealed", "--share", shared[4]).code == 0
    for two in combinations(shared, 2):
        refused = v2g(*by(*two))
        assert (refused.code, "2 shares given, 3 needed" in refused.errors) == (4, True)
    assert "root 1 has 0 of 1 signatures" in v2g(*PUBLISH).errors
    signed = v2g(*by(shared[4], shared[0], shared[2]))
    assert signed.output.startswith("charger-0.3.0.img: release 30 for dc30, sha256 6105d6cc")
    assert signed.output.count("ready to publish") == 2
    board = load_public_key(Path("board.pem"))
    assert not [each for each in gc.get_objects() if type(each) is SoftwareKey and each.public_key == board]
    assert v2g(*PUBLISH).code == 0
    assert v2g(*VERIFY, "--hardware", "dc30").output.startswith("charger-0.3.0.img: release 30, 5 octets")
    holding = [each.name for each in Path().rglob("*") if each.is_file() and b"PRIVATE KEY" in each.read_bytes()]
    assert holding == ["online.key"]


def test_shares_that_do_not_open_a_key_are_named(v2g: Run, shared: list[str]) -> None:
    """One given twice, one of another key, one with a wrong word, one that is missing; nothing is signed."""
    one, two, three = shared[:3]
    assert v2g("ota", "key", "other.sealed", "--public", "other.pem", "--shares", "2").code == 0
    Path("wrong.txt").write_text(Path(three).read_text().replace(" 7 ", " 7 x"))
    Path("copy.txt").write_text(Path(one).read_text())
    Path("few.txt").write_text("three words only")
    for last, said in {
        "copy.txt": f"{one} and copy.txt are the same share 1",
        "other-share-1-of-2.txt": "other-share-1-of-2.txt: belongs to set",
        "wrong.txt": "wrong.txt: word 7, 'x",
        "few.txt": "few.txt: 3 words instead of 33",
    }.items():
        refused = v2g(*by(one, two, last))
        assert (refused.code, said in refused.errors) == (4, True), refused.errors
    assert "nothing.txt" in v2g(*by(one, two, "nothing.txt")).errors
    assert "shares of the sealed key are needed" in v2g(*by()).errors
    assert json.loads(v2g("ota", "show", "releases", "--json").output.splitlines()[0])["signatures"] == 0
    stranger = ["ota", "sign", "releases", "--sealed", "other.sealed"]
    stranger += [each for n in "12" for each in ("--share", f"other-share-{n}-of-2.txt")]
    assert "none of the drafts" in v2g(*stranger).errors


def test_shares_can_be_shown_alone(v2g: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = v2g("ota", "key", "a.sealed", "--public", "a.pem", "--shares", "3", "--threshold", "3", "--print")
    assert [made.output.count(f"SHARE {number} OF 3") for number in (1, 2, 3)] == [1, 1, 1]
    assert "1 trial joins of 3 shares" in made.output
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.pem", "a.sealed"]


def test_what_is_withdrawn_is_installed_no_more(v2g: Run, folder: Path) -> None:
    v2g(*ADD)
    for name in "abc":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    v2g(*PUBLISH)
    shown = [msgspec.json.decode(line) for line in v2g("ota", "show", "releases", "--json").output.splitlines()]
    assert shown[-1] == {"release": "charger-0.3.0.img", "number": 30, "hardware": ["dc30"]}
    v2g("ota", "withdraw", "releases", "charger-0.3.0.img")
    table = v2g("ota", "show", "releases").output
    assert "targets\t2\tdraft" in table
    assert "0 of 3" in table
    for name in "cde":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    v2g(*PUBLISH)
    assert "does not list" in v2g(*VERIFY, "--hardware", "dc30").errors


def test_new_holders_need_the_old_ones(v2g: Run, folder: Path) -> None:
    for name in "abc":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    v2g(*PUBLISH)
    for name in "fgh":
        v2g("ota", "key", f"{name}.key", "--public", f"{name}.pem")
    new = [each for name in "fgh" for each in ("--root-key", f"{name}.pem")]
    assert v2g("ota", "roles", "releases", *new).code == 0
    for name in "fgh":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    assert "signatures" in v2g(*PUBLISH).errors
    for name in "abc":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    assert v2g(*PUBLISH).output.startswith("root 2")


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ota", "init", "other"), "no key for root"),
        (("ota", "init", "releases", *ALL_BY_ONE), "has a root"),
        (("ota", "init", "other", "--root-key", "a.key"), "a.key"),
        (("ota", "show", "nowhere"), ""),
        (("ota", "add", "nowhere", "charger-0.3.0.img", "--number", "1", "--hardware", "x"), "no targets"),
        (("ota", "add", "releases", "nothing", "--number", "1", "--hardware", "x"), "nothing: No such file"),
        (("ota", "add", "releases", "charger-0.3.0.img", "--number", "1", "--hardware", "x y"), "hardware"),
        ((*ADD, "--name", "../x"), "no name"),
        (("ota", "withdraw", "releases", "nothing"), "not released"),
        (("ota", "sign", "releases", "--key", "online.key"), "none of the drafts"),
        (("ota", "sign", "releases", "--key", "a.key", "--join", "a.pem"), "no metadata"),
        (("ota", "publish", "nowhere", *PUBLISH[3:]), "nothing to publish"),
        (("ota", "sign", "releases"), "one key is needed"),
        (("ota", "sign", "releases", "--key", "a.key", "--sealed", "b.sealed"), "one key is needed"),
        (("ota", "sign", "releases", "--key", "a.key", "--share", "a.txt"), "--share needs --sealed"),
        (("ota", "sign", "releases", "--sealed", "a.pem", "--share", "a.txt"), "a.pem: not a sealed key"),
        (("ota", "key", "x.key", "--public", "x.pem", "--threshold", "2"), "need --shares"),
        ((*SHARED, "--threshold", "3"), "3 of 2 shares is not possible"),
        ((*SHARED, "--tpm"), "cannot be split"),
        (("ota", "key", "pkcs11:token=x;object=y", "--public", "x.pem", "--shares", "2"), "a plain file only"),
        (("ota", "key", "a.key", "--public", "x.pem", "--shares", "2"), "a.key exists"),
        ((*SHARED, "--holder", "a", "--holder", "b", "--holder", "c"), "3 holders for 2 shares"),
    ],
)  # fmt: skip
def test_mistakes_are_named(v2g: Run, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = v2g(*arguments)
    assert said in done.errors
    assert "Traceback" not in done.errors
    assert "defect" not in done.errors


def test_numbers_and_names_are_used_once(v2g: Run, folder: Path) -> None:
    v2g(*ADD)
    assert "is not above 30" in v2g(*ADD).errors
    again = v2g("ota", "add", "releases", "charger-0.3.0.img", "--number", "31", "--hardware", "dc30")
    assert "is released" in again.errors


def test_publishing_needs_the_image_and_the_right_keys(v2g: Run, folder: Path) -> None:
    v2g(*ADD)
    for name in "abc":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    image = folder / "releases" / "targets" / "charger-0.3.0.img"
    image.write_bytes(b"other")
    assert "is not the image" in v2g(*PUBLISH).errors
    image.write_bytes(b"image")
    wrong = [each.replace("online.key", "a.key") for each in PUBLISH]
    assert "none of the role snapshot" in v2g(*wrong).errors
    assert v2g(*PUBLISH).code == 0
    assert v2g(*PUBLISH).output.endswith("UTC\n")  # the timestamp alone is renewed
    assert (folder / "releases" / "metadata" / "1.snapshot.json").exists()
    assert not (folder / "releases" / "metadata" / "2.snapshot.json").exists()


@pytest.mark.requirement("R134")
def test_a_patch_is_listed_beside_its_image(v2g: Run, folder: Path) -> None:
    v2g(*ADD)
    Path("charger-0.3.1.img").write_bytes(b"image" * 1000)
    v2g("ota", "add", "releases", "charger-0.3.1.img", "--number", "31", "--hardware", "dc30")
    made = v2g("ota", "patch", "releases", "charger-0.3.1.img", "--from", "charger-0.3.0.img")
    assert made.output.startswith("charger-0.3.1.img.from-30: ")
    assert " % of the image\n" in made.output
    for name in "abc":
        v2g("ota", "sign", "releases", "--key", f"{name}.key")
    v2g(*PUBLISH)
    assert "is a patch" in v2g(*VERIFY[:3], "charger-0.3.1.img.from-30", *VERIFY[4:], "--hardware", "dc30").errors
    assert "not released" in v2g("ota", "patch", "releases", "charger-0.3.1.img", "--from", "none").errors
