"""Builds a release: `make release`, or `python -m deploy.release FOLDER`.

Wheel, sdist, Debian packages with their lists of components (SBOM), the documentation as a site, release notes from
CHANGELOG, and SHA256SUMS, signed if a key is given. It refuses a tree that differs from its commit, a version without
notes, and a component with a known flaw (`deploy/advisories`).
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from deploy.audit import check, of_sbom, shipped
from deploy.debian import EXTRAS, build
from v2g.errors import ConfigError, V2GError
from v2g.io.keys.stores import open_key
from v2g.pki.attestation import SIGNATURE
from v2g.pki.keys import SigningKey, sign_der
from v2g.pki.reference import KeyReference

ROOT: Final = Path(__file__).parents[1]
SUMS: Final = "SHA256SUMS"
NOTES: Final = "RELEASE_NOTES.md"


def release(
    folder: Path, *, signer: SigningKey | None, number: int, today: date, root: Path = ROOT, packages: bool = True
) -> None:
    """Build everything into an empty folder. Raises ConfigError for a tree that is not to be released, RefusedError for
    a known flaw."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    notes = notes_of((root / "CHANGELOG.md").read_text(), version)
    check_tree(root, version)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty", hint="a release must hold nothing else: remove its files")
    check(shipped(), today)
    locked = [sys.executable, "-m", "build", "--no-isolation"]  # by the locked hatchling, not by the newest one
    subprocess.run([*locked, "--outdir", str(folder), str(root)], check=True, stdout=sys.stderr)
    (wheel,) = folder.glob("*.whl")
    for name in EXTRAS if packages else ():
        build(folder, name, wheel, signer=signer, number=number)
        check(of_sbom(folder / f"{name}.cdx.json"), today)
    _documentation(folder / f"v2g_engine-{version}-docs.zip", root)
    (folder / NOTES).write_text(notes)
    sums = checksums(folder)
    (folder / SUMS).write_text(sums)
    if signer is not None:
        (folder / (SUMS + SIGNATURE)).write_bytes(sign_der(signer, sums.encode()))


def _documentation(path: Path, root: Path) -> None:
    """Write the site of all pages, the same octet by octet for the same tree."""
    with tempfile.TemporaryDirectory() as place:
        site = Path(place) / "docs"
        subprocess.run([sys.executable, "docs/site.py", str(site)], cwd=root, check=True, stdout=sys.stderr)
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(each for each in site.rglob("*") if each.is_file()):
                entry = zipfile.ZipInfo(str(file.relative_to(place)))  # of 1980
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def check_tree(root: Path, version: str) -> None:
    """Raise ConfigError for files that are not committed, and for a tag of this version on another commit."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    if changed := git("status", "--porcelain"):
        first = changed.splitlines()[0].strip()
        raise ConfigError(f"the tree differs from its commit: {first}", hint="commit or remove it: git status")
    tagged, head = git("rev-list", "-n1", f"v{version}"), git("rev-parse", "HEAD")
    if tagged and tagged != head:
        hint = "raise version in pyproject.toml and v2g/version.py"
        raise ConfigError(f"v{version} is another commit: {version} was released already", hint=hint)


def notes_of(changelog: str, version: str) -> str:
    """Return what a change log says about its newest version. Raises ConfigError if that is another one."""
    parts = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    for part in parts:
        heading, _, body = part.partition("\n")
        if heading.startswith("[Unreleased]"):
            if body.strip():
                raise ConfigError(
                    "CHANGELOG.md has changes under [Unreleased]", hint=f"name them: ## [{version}] - YYYY-MM-DD"
                )
            continue
        if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading.strip()):
            break
        return f"# v2g-engine {version}\n\n{body.strip()}\n"
    raise ConfigError(
        f"the version is {version}, but CHANGELOG.md does not begin with it", hint=f"## [{version}] - YYYY-MM-DD"
    )


def checksums(folder: Path) -> str:
    """Return the SHA-256 of all files, as `sha256sum --check` reads them."""
    lines = []
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    return "".join(lines)


def main() -> int:
    """Build a release as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="empty folder, such as dist/0.2.0")
    parser.add_argument("--key", help="private key that signs checksums and manifests: PEM file, or key URI")
    parser.add_argument("--number", type=int, default=0, help="of the manifest; chargers refuse lower ones later")
    parser.add_argument("--no-packages", action="store_true", help="without Debian packages")
    parser.add_argument("--today", type=date.fromisoformat, default=datetime.now(UTC).date(), help="YYYY-MM-DD")
    options = parser.parse_args()
    try:
        signer = None if not options.key else open_key(KeyReference.from_text(options.key, Path()))
        packages = not options.no_packages
        release(options.folder, signer=signer, number=options.number, today=options.today, packages=packages)
    except V2GError as error:
        sys.stderr.write(f"release: {error}\n         {error.hint}\n")
        return error.exit_code
    print((options.folder / SUMS).read_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
