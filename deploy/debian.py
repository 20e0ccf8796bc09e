"""Builds a Debian package of the programs, with their services: `make package`, or `python -m deploy.debian FOLDER`.

The programs come with all packages that they import, in a virtual environment below /usr/lib/v2g-engine; of the system
they use its Python. `deploy/locks` has the versions, and the files by hash; the same commit makes the same package,
octet by octet (SOURCE_DATE_EPOCH is its time). `v2g-engine` is what a charger or vehicle needs, and `v2g-engine-full`
the back end, too. A service starts only when it is enabled: it needs a configuration first.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path
from typing import Final

from deploy import manual
from v2g.extras import DRIVERS, PACKAGES
from v2g.extras import HOME as INSTALLED
from v2g.io.keys.stores import open_key
from v2g.io.runtime.attestation import make_manifest
from v2g.pki.attestation import SIGNATURE, sign_manifest
from v2g.pki.keys import SigningKey
from v2g.pki.reference import KeyReference

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
HOME: Final = INSTALLED.relative_to("/")
MANIFEST: Final = Path("usr/share/v2g-engine/manifest.json")
EXTRAS: Final = {name: ",".join(extras) for name, extras in PACKAGES.items()}
"""Package and extras that it has."""

DRIVERS_PATH: Final = "v2g-engine-drivers.pth"
"""File of the environment that adds the folder of drivers to what it imports, after all of its own."""

LOCKS: Final = HERE / "locks"

SYSTEM: Final = "v2g-engine:of-the-system"
"""A property of a component that a package uses, but does not contain."""

KEPT: Final = (("uplot", "1.6.32", "MIT"),)
"""Libraries of browsers that are copied into the wheel, `csms/console/static`: name at npm, version, licence."""

COMMANDS: Final = {"v2g": "v2g_cli.__main__", "v2g-diag": "v2g_cli.diag", "v2g-telemetry-daemon": "v2g_cli.telemetry"}

_INSTALLED: Final = """\
#!/bin/sh
set -e
if [ -e /usr/share/debconf/confmodule ]; then . /usr/share/debconf/confmodule; fi  # knows the question of a purge
systemd-sysusers v2g-engine.conf
systemd-tmpfiles --create v2g-engine.conf || true  # without /proc, as where an image is made, at the next start
if aa-enabled --quiet 2> /dev/null; then  # before the services start, which ask for their profiles
    apparmor_parser --replace --write-cache /etc/apparmor.d/v2g-engine || true
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ -e /run/v2g-engine.stopped ]; then
        xargs -r systemctl start --no-block < /run/v2g-engine.stopped
        rm /run/v2g-engine.stopped
    fi
fi
"""

_REMOVING: Final = """\
#!/bin/sh
set -e
# No program runs while its files change: a charger that attests itself would lock. The next package starts what ran,
# be it a new version or the other package; apt removes the one before it installs the other. One that fails again and
# again runs, too. One that waits for its start at boot starts later. What was interrupted before stopped some already.
if [ -d /run/systemd/system ]; then
    for unit in v2g-secc.service v2g-csms.service v2g-telemetry.service; do
        case $(systemctl is-active $unit || true) in
        inactive | failed | unknown) ;;
        *) echo $unit ;;
        esac
    done >> /run/v2g-engine.stopped
    xargs -r systemctl stop < /run/v2g-engine.stopped || true
fi
"""

_REMOVED: Final = """\
#!/bin/sh
set -e
if [ "$1" != purge ] || [ -e /usr/bin/v2g ]; then exit 0; fi  # the other package has the same files
removes=false
if [ -e /usr/share/debconf/confmodule ]; then
    . /usr/share/debconf/confmodule
    db_input high v2g-engine/remove-data || true
    db_go || true
    if db_get v2g-engine/remove-data; then removes=$RET; fi
    db_purge || true
fi
rm -f /etc/systemd/system/*.wants/v2g-secc.service /etc/systemd/system/*.wants/v2g-csms.service
rm -f /etc/systemd/system/*.wants/v2g-telemetry.service /var/log/v2g-bridge.log /run/v2g-engine.stopped
rm -f /etc/systemd/system/v2g_packages* /etc/systemd/system/*.wants/v2g_packages*
rm -rf /usr/lib/v2g-engine /var/log/v2g-engine
if [ "$removes" = true ]; then
    rm -rf /etc/v2g-engine /var/lib/v2g-engine
else
    echo "v2g-engine: kept /etc/v2g-engine and /var/lib/v2g-engine" >&2
fi
"""
"""The users stay: files elsewhere, such as backups, may be theirs."""

QUESTION: Final = """\
Template: v2g-engine/remove-data
Type: boolean
Default: false
Description: Remove configurations, keys and data of v2g-engine?
 /etc/v2g-engine and /var/lib/v2g-engine hold certificates, keys, journals of sessions and databases. Journals that no
 back end has, and keys without a copy, are lost.
"""

SCRIPTS: Final = {"postinst": _INSTALLED, "prerm": _REMOVING, "postrm": _REMOVED}
"""What dpkg runs around the package's files."""


def build(folder: Path, name: str, wheel: Path, *, signer: SigningKey | None = None, number: int = 0) -> Path:
    """Build the package `name` of a wheel in `folder`; return its file. With a signer it has a manifest (R148)."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        _programs(root, wheel, LOCKS / f"{name}.txt")
        _services(root)
        manual.write(root, wheel.name.split("-")[1])
        _components(root, folder / f"{name}.cdx.json")
        version, architecture = wheel.name.split("-")[1], _said("dpkg", "--print-architecture")
        _control(root, name, version, architecture)
        if signer is not None:
            _manifest(root, version, signer, number)
        path = folder / f"{name}_{version}_{architecture}.deb"
        _date(root)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(root), str(path)], check=True)
    return path


def _programs(root: Path, wheel: Path, lock: Path) -> None:
    """Write the virtual environment, which moves with the package: nothing in it names the folder of the build."""
    home, python = root / HOME, f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / python / "site-packages"
    packages.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    for what in (locked, ["--no-deps", str(wheel)]):
        shutil.rmtree(packages / "share", ignore_errors=True)  # where others have pages, pip leaves out ours
        subprocess.run([*pip, "--target", str(packages), *what], check=True)
    shutil.rmtree(packages / "bin", ignore_errors=True)  # their first lines name this interpreter
    (packages / "share" / "v2g").rename(_made(root / "usr/share") / "v2g")
    shutil.rmtree(packages / "share")
    for own in packages.glob("v2g_engine-*.dist-info/direct_url.json"):  # names the folder of the wheel
        own.unlink()
        record = own.with_name("RECORD")
        kept = (line for line in record.read_text().splitlines(keepends=True) if own.name not in line)
        record.write_text("".join(kept))
    (packages / DRIVERS_PATH).write_text(f"{DRIVERS}\n")
    _made(root / DRIVERS.relative_to("/"))
    _made(home / "bin")
    (home / "bin" / "python").symlink_to(f"/usr/bin/{python}")
    # by hash, not by time: what was compiled is the same whenever it was
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    # some packages have files for other versions of Python
    subprocess.run([*compiled, "-s", str(root), "-p", "/", str(packages)], check=False)
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for command, module in COMMANDS.items():
        path = _made(root / "usr/bin") / command
        path.write_text(f"#!/{HOME}/bin/python -I\nfrom {module} import main\n\nmain()\n")
        path.chmod(0o755)


def _services(root: Path) -> None:
    _made(root / "etc/v2g-engine/certs")
    shutil.copytree(HERE / "systemd", root / "usr/lib/systemd/system")
    for source, target in {
        "sysusers.conf": "usr/lib/sysusers.d/v2g-engine.conf",
        "tmpfiles.conf": "usr/lib/tmpfiles.d/v2g-engine.conf",
        "logrotate.conf": "etc/logrotate.d/v2g-engine",
        "apparmor.conf": "etc/apparmor.d/v2g-engine",
        "packages.py": "usr/lib/v2g-engine/packages.py",
        "nftables.conf": "usr/share/doc/v2g-engine/examples/nftables.conf",
        "fail2ban.conf": "usr/share/doc/v2g-engine/examples/fail2ban.conf",
        "../README.md": "usr/share/doc/v2g-engine/README.md",
        "../LICENSE": "usr/share/doc/v2g-engine/copyright",
    }.items():
        shutil.copyfile(HERE / source, _made((root / target).parent) / Path(target).name)


def _manifest(root: Path, version: str, signer: SigningKey, number: int) -> None:
    """List all that the package installs, but not what an operator may change."""
    paths = (
        root / HOME,
        *(root / "usr/bin").iterdir(),
        *(root / "usr/lib/systemd/system").iterdir(),
        root / "usr/share/v2g",
    )
    made = make_manifest(paths, release=version, version=number, system=("/lib", "/lib64", "/usr/lib"), root=root)
    path = _made(root / MANIFEST.parent) / MANIFEST.name
    for each, content in zip((path, path.with_name(path.name + SIGNATURE)), sign_manifest(made, signer), strict=True):
        each.write_bytes(content)
        each.chmod(0o644)


def _components(root: Path, path: Path) -> None:
    """List what the package has, with versions and licences (SBOM, CycloneDX)."""
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", "--output-reproducible"]
    python = root / HOME / "bin" / "python"
    subprocess.run([*command, "--pyproject", str(ROOT / "pyproject.toml"), "-o", str(path), str(python)], check=True)
    listed = json.loads(path.read_text())
    system = {"properties": [{"name": SYSTEM, "value": "true"}]}
    listed["components"] += [
        _generic("openssl", _openssl(python)),
        _generic("cpython", platform.python_version()) | system,
        *(_generic(*each[:2]) | {"licenses": [{"license": {"id": each[2]}}]} for each in KEPT),
    ]
    path.write_text(json.dumps(listed, indent=2) + "\n")
    shutil.copyfile(path, root / "usr/share/doc/v2g-engine/sbom.cdx.json")


def _openssl(python: Path) -> str:
    """Return the version of OpenSSL that the package `cryptography` contains."""
    asked = "from cryptography.hazmat.backends.openssl.backend import backend; print(backend.openssl_version_text())"
    packages = next((python.parents[1] / "lib").glob("python*/site-packages"))
    return _said(sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(packages)!r}); {asked}").split()[1]


def _generic(name: str, version: str) -> dict[str, object]:
    """Return a component that is no Python package; cpython is the system's, of the build."""
    purl = f"pkg:generic/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _control(root: Path, name: str, version: str, architecture: str) -> None:
    major, minor = sys.version_info[:2]
    description = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["description"]
    size = sum(path.lstat().st_size for path in root.rglob("*")) // 1024
    control = _made(root / "DEBIAN")
    (other,) = EXTRAS.keys() - {name}
    (control / "control").write_text(
        textwrap.dedent(f"""\
        Package: {name}
        Version: {version}
        Architecture: {architecture}
        Maintainer: v2g-engine <v2g-engine@localhost>
        Section: net
        Priority: optional
        Installed-Size: {size}
        Depends: python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1}), libc6, procps, systemd
        Recommends: apparmor, iproute2, nftables
        Conflicts: {other}
        Replaces: {other}
        Description: {description}
         With {EXTRAS[name].replace(",", ", ")}, and services that `systemctl enable` starts once they are configured.
        """)
    )
    (control / "conffiles").write_text("/etc/apparmor.d/v2g-engine\n/etc/logrotate.d/v2g-engine\n")
    (control / "templates").write_text(QUESTION)
    for script, text in SCRIPTS.items():
        (control / script).write_text(text)
        (control / script).chmod(0o755)
    for path in root.rglob("*"):  # the mask of who builds must not decide
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _date(root: Path) -> None:
    """Give all files the time of the commit."""
    when = int(os.environ.setdefault("SOURCE_DATE_EPOCH", _said("git", "-C", str(ROOT), "log", "-1", "--format=%ct")))
    for path in (root, *root.rglob("*")):
        os.utime(path, (when, when), follow_symlinks=False)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Build a wheel and the packages."""
    parser = argparse.ArgumentParser(prog="python -m deploy.debian", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the packages go, such as dist")
    parser.add_argument("--only", choices=EXTRAS, help="one of the packages")
    parser.add_argument("--key", help="private key that signs the manifest of the files: PEM file, or key URI")
    parser.add_argument("--number", type=int, default=0, help="of the manifest; chargers refuse lower ones later")
    options = parser.parse_args()
    signer = None if not options.key else open_key(KeyReference.from_text(options.key, Path()))
    folder = _made(options.folder)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    locked = "--no-build-isolation"  # by the locked hatchling, not by the newest one
    subprocess.run([*pip, locked, "--wheel-dir", str(folder), str(ROOT)], check=True)
    wheel = max(folder.glob("v2g_engine-*.whl"), key=lambda path: path.stat().st_mtime)
    for name in EXTRAS if options.only is None else (options.only,):
        print(build(folder, name, wheel, signer=signer, number=options.number))


if __name__ == "__main__":
    main()
