"""The recipes for Yocto and Buildroot say what pyproject.toml says, read by parsers of their own."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.embedded import BUILDROOT_NAMES, recipes
from tests.deploy.service import UNITS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def required(group: str = "") -> set[str]:
    """Return the canonical names that pyproject.toml requires, by a library that we did not write."""
    listed = PROJECT["optional-dependencies"][group] if group else PROJECT["dependencies"]
    return {canonicalize_name(Requirement(each).name) for each in listed} - {"v2g-engine"}


def services() -> set[str]:
    return {path.name for path in UNITS.glob("*.service")}


def value(text: str, name: str) -> str:
    """Return the value of a variable of a recipe."""
    found = re.search(rf'^{re.escape(name)} \??= "((?:[^"\\]|\\\n)*)"', text, re.MULTILINE)
    assert found is not None, name
    return found[1].replace("\\\n", " ")


@pytest.mark.parametrize("name", recipes(PROJECT))
def test_the_files_are_those_of_today(name: str) -> None:
    assert (DEPLOY / name).read_text() == recipes(PROJECT)[name], "python -m deploy.embedded"
    (recipe,) = (DEPLOY / "yocto").iterdir()
    assert recipe.name == f"python3-v2g-engine_{PROJECT['version']}.bb"


def test_the_yocto_recipe_is_pyprojects() -> None:
    (path,) = (DEPLOY / "yocto").iterdir()
    text = path.read_text()

    def plain(listed: str) -> set[str]:
        return {f"python-{name}" if name == "can" else name for name in re.findall(r"python3-(\S+)", listed)}

    assert plain(value(text, "RDEPENDS:${PN}")) == required() | {"modules"}  # the standard library
    for group in ("gateway", "csms", "planning"):
        assert plain(value(text, f"PACKAGECONFIG[{group}]")) == required(group)
    assert set(value(text, "SYSTEMD_SERVICE:${PN}").split()) == services()
    license_ = (ROOT / PROJECT["license-files"][0]).read_bytes()
    md5 = hashlib.md5(license_, usedforsecurity=False).hexdigest()
    assert value(text, "LIC_FILES_CHKSUM") == f"file://LICENSE;md5={md5}"
    assert value(text, "LICENSE") == PROJECT["license"]


def test_the_buildroot_package_is_pyprojects() -> None:
    folder = DEPLOY / "buildroot" / "v2g-engine"
    makefile, config = (folder / "v2g-engine.mk").read_text(), (folder / "Config.in").read_text()
    assert f"\nV2G_ENGINE_VERSION = {PROJECT['version']}\n" in makefile
    assert set(re.findall(r"deploy/systemd/(\S+\.service) ", makefile)) == services()
    others = {theirs: ours for ours, theirs in BUILDROOT_NAMES.items()} | {"python-can": "python-can"}
    groups = re.split(r"^config BR2_PACKAGE_V2G_ENGINE", config, flags=re.MULTILINE)[1:]
    for group, text in zip(("", "gateway", "csms", "planning"), groups, strict=True):
        selected = {each.lower().replace("_", "-") for each in re.findall(r"select BR2_PACKAGE_(\w+) # runtime", text)}
        assert {canonicalize_name(others.get(each, each.removeprefix("python-"))) for each in selected} == required(
            group
        )


def test_both_have_a_user_for_each_service() -> None:
    users = {path.stem for path in UNITS.glob("*.service")}
    for name, text in recipes(PROJECT).items():
        if not name.endswith("Config.in"):
            assert all(re.search(rf"\b{user}\b", text) for user in users), name
