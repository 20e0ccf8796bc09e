"""Recipes for Yocto and Buildroot, from pyproject.toml and the files beside this one: `python -m deploy.embedded`.

They are examples: names of packages are those that both projects give to Python packages, and what a release of theirs
lacks has to be added. docs/how-to/build-for-embedded-linux.md says how.
"""

import hashlib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
GROUPS: Final = ("gateway", "csms", "planning")
"""Extras that an image may have."""

BUILDROOT_NAMES: Final[Mapping[str, str]] = {"pyserial": "python-serial"}
"""Packages of Buildroot with another name than `python-NAME`."""

_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?")


_SERVICE: Final = """\
\t$(INSTALL) -D -m 0644 $(@D)/deploy/systemd/{name} \\
\t\t$(TARGET_DIR)/usr/lib/systemd/system/{name}
"""


_CONFIG_GROUP: Final = """\
config BR2_PACKAGE_V2G_ENGINE_{upper}
\tbool "{name}"
{depends}"""


def recipes(project: Mapping[str, Any]) -> dict[str, str]:
    """Return the files, by their path below this folder, for `[project]` of pyproject.toml."""
    version, facts = project["version"], {"summary": project["description"], "license": project["license"]}
    base = list(names(project["dependencies"]))
    groups = {name: list(names(project["optional-dependencies"][name])) for name in GROUPS}
    units = sorted(path.name for path in (HERE / "systemd").glob("*.service"))
    users = [line.split('"') for line in (HERE / "sysusers.conf").read_text().splitlines() if line.startswith("u ")]
    accounts = [(first.split()[1], home.strip()) for first, _, home in users]
    md5 = hashlib.md5((ROOT / "LICENSE").read_bytes(), usedforsecurity=False).hexdigest()
    yocto = _filled(
        "recipe.bb.in",
        **facts,
        md5=md5,
        users=_lines(
            f"--system --user-group --home-dir {home} --shell /sbin/nologin {name};" for name, home in accounts
        ),
        services=_lines(units),
        depends=_lines(map(yocto_name, base)),
        groups="".join(
            f'PACKAGECONFIG[{name}] = ",,,{" ".join(map(yocto_name, each))}"\n' for name, each in groups.items()
        ),
    )
    makefile = _filled(
        "package.mk.in",
        **facts,
        version=version,
        users="".join(f"\t{name} -1 {name} -1 * {home} - - v2g-engine\n" for name, home in accounts),
        services="".join(_SERVICE.format(name=each) for each in units),
    )
    config = _filled("package.Config.in", **facts, depends=_selected(base)) + "\nif BR2_PACKAGE_V2G_ENGINE\n\n"
    for name, each in groups.items():
        config += _CONFIG_GROUP.format(upper=name.upper(), name=name, depends=_selected(each)) + "\n"
    return {
        f"yocto/python3-v2g-engine_{version}.bb": yocto,
        "buildroot/v2g-engine/v2g-engine.mk": makefile,
        "buildroot/v2g-engine/Config.in": config + "endif\n",
    }


def _filled(template: str, /, **values: object) -> str:
    return (HERE / "templates" / template).read_text().format(**values)


def names(requirements: Sequence[str]) -> Iterator[str]:
    """Yield the normalised names of requirements (PEP 503), of our own extras none."""
    for each in requirements:
        found = _REQUIREMENT.match(each)
        assert found is not None, each
        name = re.sub(r"[-_.]+", "-", found[1]).lower()
        if name != "v2g-engine":
            yield name


def yocto_name(name: str) -> str:
    """Return how OpenEmbedded calls a Python package."""
    return f"python3-{name.removeprefix('python-')}"


def buildroot_name(name: str) -> str:
    """Return how Buildroot calls a Python package."""
    return BUILDROOT_NAMES.get(name, f"python-{name.removeprefix('python-')}")


def _lines(words: Any) -> str:
    return "".join(f"    {word} \\\n" for word in words)


def _selected(packages: Sequence[str]) -> str:
    options = (buildroot_name(each).upper().replace("-", "_") for each in packages)
    return "".join(f"\tselect BR2_PACKAGE_{option} # runtime\n" for option in options)


def main() -> None:
    """Write the files, and remove those of another version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for old in (HERE / "yocto").glob("*.bb"):
        old.unlink()
    for name, text in recipes(project).items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        sys.stdout.write(f"deploy/{name}\n")


if __name__ == "__main__":
    main()
