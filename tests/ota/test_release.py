"""What metadata say about a release, and which device may have it (R139, R140)."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.together import together
from v2g.errors import InstallError
from v2g.ota.release import (
    NAME,
    Origin,
    Release,
    RepositoryConfig,
    TargetFacts,
    check_release,
    patch_name,
    read_release,
)

DIGEST = "ab" * 32
CUSTOM = {"number": 3, "hardware": ["dc30"]}

pytestmark = pytest.mark.requirement("R139", "R140")


def release(number: int = 3, hardware: tuple[str, ...] = ("dc30",), origin: Origin | None = None) -> Release:
    facts = TargetFacts(number=number, hardware=hardware, patch_of=origin)
    return Release(name="x.img", length=5, digest=bytes(32), facts=facts)


def test_a_whole_target_is_read() -> None:
    found = read_release("x.img", 5, {"sha256": DIGEST}, CUSTOM)
    assert found == Release(
        name="x.img", length=5, digest=bytes.fromhex(DIGEST), facts=TargetFacts(number=3, hardware=("dc30",))
    )


@together(
    ("hashes", "custom", "said"),
    [
        ({}, CUSTOM, "no SHA-256"),
        ({"sha512": DIGEST * 2}, CUSTOM, "no SHA-256"),
        ({"sha256": DIGEST[2:]}, CUSTOM, "no SHA-256"),
        ({"sha256": "zz"}, CUSTOM, "incomplete"),
        ({"sha256": DIGEST}, None, "incomplete"),
        ({"sha256": DIGEST}, CUSTOM | {"number": 0}, "incomplete"),
        ({"sha256": DIGEST}, CUSTOM | {"number": 2**31}, "incomplete"),
        ({"sha256": DIGEST}, CUSTOM | {"hardware": []}, "incomplete"),
        ({"sha256": DIGEST}, CUSTOM | {"hardware": ["a b"]}, "incomplete"),
        ({"sha256": DIGEST}, CUSTOM | {"patch_of": {"length": -1, "digest": DIGEST}}, "incomplete"),
    ],
)
def test_what_is_incomplete_is_refused(hashes: dict[str, str], custom: Any, said: str) -> None:
    with pytest.raises(InstallError, match=said) as refused:
        read_release("x\x1b.img", 5, hashes, custom)
    assert refused.value.verification
    assert "\x1b" not in str(refused.value)


def test_a_device_may_have_its_own_again_and_newer_ones() -> None:
    for installed in (0, 2, 3):
        check_release(release(), "dc30", installed)
    with pytest.raises(InstallError, match="release 3 is older than 4") as refused:
        check_release(release(), "dc30", 4)
    assert refused.value.verification


def test_other_hardware_is_named() -> None:
    kinds = ("a", "b", "c", "d", "e", "f")
    with pytest.raises(InstallError, match="is for a, b, c, d, e, not for dc30") as refused:
        check_release(release(hardware=kinds), "dc30", 0)
    assert refused.value.verification


def test_a_patch_is_installed_by_itself_never() -> None:
    with pytest.raises(InstallError, match="is a patch") as refused:
        check_release(release(origin=Origin(length=1, digest=DIGEST)), "dc30", 0)
    assert refused.value.verification
    assert patch_name("x.img", 2) == "x.img.from-2"


def test_names_and_defaults() -> None:
    assert all(re.fullmatch(NAME, name) for name in ("a", "charger-0.3.0+b1_x.img", "x" * 128))
    assert not any(re.fullmatch(NAME, name) for name in ("", ".a", "a/b", "a b", "x" * 129, "a\n"))
    assert RepositoryConfig(root=Path("r"), url="https://h", hardware="x").number == 0
