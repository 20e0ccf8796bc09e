"""What several tests of attestation use."""

import functools
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from v2g.io.runtime.attestation import loaded_files, make_manifest
from v2g.pki.attestation import SIGNATURE, Manifest, sign_manifest
from v2g.pki.keys import SoftwareKey

KEY = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
HERE = Path(__file__).parents[3]
SYSTEM = ("/usr", "/lib", sys.base_prefix, str(HERE), str(Path(sys.prefix, "lib")))
"""What this process has loaded. A charger's packages are in its manifest instead."""


def make_program(tmp_path: Path) -> Path:
    """Make a program's folder."""
    program = tmp_path / "program"
    (program / "package" / "data").mkdir(parents=True)
    (program / "package" / "__init__.py").write_text("A = 1\n")
    (program / "package" / "fast.so").write_bytes(bytes(range(256)) * 1024)
    (program / "package" / "data" / "empty").touch()
    (program / "python").symlink_to("/usr/bin/python3")
    return program


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program's folder."""
    return make_program(tmp_path)


@functools.cache
def folder_of(path: str) -> str:
    """Return the folder in which a file really is."""
    return os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - text, as paths in a manifest


def everything(path: str) -> tuple[str, ...]:
    """Return SYSTEM with this environment's packages, and with what other tests have loaded from elsewhere."""
    packages = next(Path(sys.prefix, "lib").glob("python*/site-packages"))
    loaded = {folder_of(each) for each in loaded_files()}
    return (*SYSTEM, str(packages), *loaded, path)


def sign(program: Path, *, version: int = 1, key: SoftwareKey = KEY) -> Path:
    """Write the signed manifest of a program and return its path."""
    manifest = make_manifest([program], release="1.0", version=version, system=everything("/nowhere"))
    return write(program.parent / "manifest.json", manifest, key)


def write(path: Path, manifest: Manifest, key: SoftwareKey = KEY) -> Path:
    """Sign and write a manifest."""
    data, signature = sign_manifest(manifest, key)
    path.write_bytes(data)
    path.with_name(path.name + SIGNATURE).write_bytes(signature)
    return path


def flip(path: Path) -> None:
    """Change one bit in the middle, and nothing else that can be seen."""
    found, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
