"""Whatever is changed beneath a program is found: content, names, links, the manifest, and modules loaded later."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from tests.io.runtime.attestation import KEY, SYSTEM, everything, flip, program, sign, write
from v2g.errors import ConfigError
from v2g.io.runtime.attestation import Attestation, FileDifference, loaded_files, make_manifest
from v2g.pki.keys import SoftwareKey

__all__ = ["program"]


def differences(manifest: Path, least: int = 0) -> list[tuple[str, str]]:
    """Return kind and file name of each difference."""
    attestation = Attestation(manifest, KEY.public_key)
    return [(each.kind, Path(each.path).name) for each in attestation.differences(least, lambda _: None)]


@pytest.mark.long
@pytest.mark.requirement("R148")
def test_an_untouched_program_has_no_difference(program: Path) -> None:
    assert differences(sign(program)) == []


CHANGES: dict[str, tuple[Callable[[Path], object], list[tuple[str, str]]]] = {
    "a flipped bit of source": (lambda at: flip(at / "package/__init__.py"), [("changed", "__init__.py")]),
    "a flipped bit of a library": (lambda at: flip(at / "package/fast.so"), [("changed", "fast.so")]),
    "an added module": (lambda at: (at / "package/more.py").write_text(""), [("extra", "more.py")]),
    "added bytecode": (lambda at: (at / "package/data/empty.pyc").write_text(""), [("extra", "empty.pyc")]),
    "an added link": (lambda at: (at / "more").symlink_to("package"), [("extra", "more")]),
    "a removed module": (lambda at: (at / "package/__init__.py").unlink(), [("missing", "__init__.py")]),
    "a filled file": (lambda at: (at / "package/data/empty").write_text("x"), [("changed", "empty")]),
    "another interpreter": (
        lambda at: ((at / "python").unlink(), (at / "python").symlink_to("/tmp/python3")),
        [("changed", "python")],
    ),
    "a link in place of a file": (
        lambda at: ((at / "package/data/empty").unlink(), (at / "package/data/empty").symlink_to("/dev/null")),
        [("changed", "empty")],
    ),
    "a pipe in place of a file": (
        lambda at: ((at / "package/data/empty").unlink(), os.mkfifo(at / "package/data/empty")),
        [("missing", "empty")],
    ),
    "a folder in place of a file": (
        lambda at: ((at / "package/data/empty").unlink(), (at / "package/data/empty").mkdir()),
        [("missing", "empty")],
    ),
    "no program": (shutil.rmtree, [("missing", name) for name in ("__init__.py", "empty", "fast.so", "python")]),
    "no manifest": (lambda at: (at.parent / "manifest.json").unlink(), [("missing", "manifest.json")]),
    "no signature": (lambda at: (at.parent / "manifest.json.sig").unlink(), [("missing", "manifest.json")]),
    "a tampered manifest": (lambda at: flip(at.parent / "manifest.json"), [("unsigned", "manifest.json")]),
    "a tampered signature": (lambda at: flip(at.parent / "manifest.json.sig"), [("unsigned", "manifest.json")]),
    "another signer": (
        lambda at: sign(at, key=SoftwareKey(ec.generate_private_key(ec.SECP256R1()))),
        [("unsigned", "manifest.json")],
    ),
    "an older release": (lambda at: sign(at, version=0), [("older", "manifest.json")]),
    "a newer release": (lambda at: (flip(at / "package/fast.so"), sign(at, version=2)), []),
}


@pytest.mark.some(2)
@pytest.mark.requirement("R148")
@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found(program: Path, change: str) -> None:
    manifest = sign(program)
    do, expected = CHANGES[change]
    do(program)
    assert sorted(differences(manifest, least=1)) == sorted(expected)


@pytest.mark.long
@pytest.mark.requirement("R148")
def test_a_module_that_is_loaded_later_from_elsewhere_is_found(program: Path, tmp_path: Path) -> None:
    manifest = make_manifest([program], release="1.0", version=1, system=everything("/nowhere"))
    attestation = Attestation(sign(program), KEY.public_key)
    assert list(attestation.loaded(manifest)) == []
    stranger = tmp_path / "stranger.py"
    stranger.write_text("")
    spec = importlib.util.spec_from_file_location("stranger_here", stranger)
    assert spec is not None
    sys.modules["stranger_here"] = importlib.util.module_from_spec(spec)
    try:
        for _ in range(2):
            assert list(attestation.loaded(manifest)) == [FileDifference("extra", str(stranger))]
        listed = replace(manifest, files={**manifest.files, str(stranger.resolve()): "00"})
        assert list(attestation.loaded(listed)) == []
    finally:
        del sys.modules["stranger_here"]


@pytest.mark.long
@pytest.mark.requirement("R148")
def test_a_link_of_the_system_is_of_the_system_wherever_it_leads(program: Path, tmp_path: Path) -> None:
    """As Debian's sitecustomize. A link below the program's own folder is not, and is reported once; nor is a file
    elsewhere that a link and `..` lead to."""
    (program / "more").write_bytes(bytes(3 * 1024 * 1024))  # the loaded modules are examined several times
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/sitecustomize.py").touch()
    (system := tmp_path / "lib").mkdir()
    (tmp_path / "else/where").mkdir(parents=True)
    (tmp_path / "else/lib").mkdir()
    (tmp_path / "else/lib/sitecustomize.py").touch()
    (tmp_path / "jump").symlink_to(tmp_path / "else/where")
    winding = tmp_path / "jump/../lib/sitecustomize.py"
    (program / "own.py").symlink_to(tmp_path / "etc/sitecustomize.py")
    (system / "sitecustomize.py").symlink_to(tmp_path / "etc/sitecustomize.py")
    manifest = make_manifest([program], release="1.0", version=1, system=everything(str(system)))
    attestation = Attestation(write(tmp_path / "manifest.json", manifest), KEY.public_key)
    for name, extra in (
        (system / "sitecustomize.py", []),
        (program / "own.py", [FileDifference("extra", str(program / "own.py"))]),
        (winding, [FileDifference("extra", str(winding))]),
    ):
        sys.modules["sitecustomize_here"] = module = ModuleType("sitecustomize_here")
        module.__file__ = str(name)
        try:
            assert list(attestation.differences(0, lambda _: None)) == extra
        finally:
            del sys.modules["sitecustomize_here"]


def test_what_was_installed_into_the_systems_python_is_not_of_the_system(program: Path) -> None:
    """Only pytest and this environment's packages are below site-packages here; none of them is listed."""
    manifest = make_manifest([program], release="1.0", version=1, system=(*SYSTEM, "/"))
    found = {each.path for each in Attestation(program, KEY.public_key).loaded(manifest)}
    assert found
    assert all("site-packages" in each for each in found)
    assert found <= loaded_files()


@pytest.mark.long
def test_each_block_that_is_read_is_counted_and_can_end_it(program: Path) -> None:
    read: list[int] = []
    list(Attestation(sign(program), KEY.public_key).differences(0, read.append))
    assert sum(read) == sum(
        path.stat().st_size for path in program.rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert max(read) == 64 * 1024

    def end(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(Attestation(sign(program), KEY.public_key).differences(0, end))


def test_a_manifest_has_paths_as_installed(program: Path) -> None:
    made = make_manifest([program / "package"], release="1.0", version=1, root=program.parent)
    assert made.folders == ("/program/package",)
    assert set(made.files) == {f"/program/package/{name}" for name in ("__init__.py", "fast.so", "data/empty")}
    os.mkfifo(program / "package" / "pipe")
    with pytest.raises(ConfigError, match="pipe"):
        make_manifest([program], release="1.0", version=1)
