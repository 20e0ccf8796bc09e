"""The files of a first configuration: all of them appear, or none, and none replaces another."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self

from v2g.errors import ConfigError
from v2g_cli.output import say

OLDER: Final = "iso15118-2"
"""Folder in a PKI of ours: another one, on secp256r1, for vehicles of ISO 15118-2."""


GATEWAY: Final = "ev-0001"
"""Pseudonym of the vehicle whose telemetry gateway has a certificate in a new PKI."""


class InitFiles:
    """Files are written beside their place, and moved there on leaving the context without an error.

    The configuration is written last: without it another attempt goes on with what was moved. Only their owner reads
    files; `owner` is the program's user.
    """

    def __init__(self, folder: Path, owner: str = "", *, replace: bool = False) -> None:
        """With `replace`, copies of certificates of another PKI are replaced. Raises ConfigError."""
        self._folder, self._owner, self._replace = folder, owner, replace
        self._moves: dict[Path, Path] = {}
        """Where each file, or folder, is until it is moved, by its place; in order."""
        self._stages: list[Path] = []
        self._ours: set[Path] = set()
        self.pki = Path()
        """The PKI, and where it is until then."""
        self._pki_now = Path()
        if owner and os.geteuid() != 0:
            raise ConfigError("--owner is for root", hint="sudo, or leave it out: the files are yours then")
        self._ids = _ids_of(owner) if owner else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                for target, staged in self._moves.items():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    staged.replace(target)
                self._hand_over()
                if self.pki in self._moves:
                    say(f"{self.pki}: certificates of authorities of your own, for trials; their keys are there, too")
        finally:
            for stage in self._stages:
                shutil.rmtree(stage, ignore_errors=True)

    def new(self, name: str) -> Path:
        """Return the path of a file to be written. Raises ConfigError when it exists."""
        path = self._folder / name
        if path.exists():
            raise ConfigError(f"{path} exists", hint="edit it, move it away, or choose another folder")
        return path

    def stage(self, target: Path) -> Path:
        """Return where to write what will be at `target`: on the same file system, in a folder for us only."""
        there = next(each for each in target.absolute().parents if each.is_dir())
        stage = Path(tempfile.mkdtemp(prefix=".v2g-init-", dir=there))
        self._stages.append(stage)
        self._moves[target] = stage / target.name
        return self._moves[target]

    def write(self, path: Path, text: str, *, owned: bool = True) -> None:
        """Write a file of mode 0600, for the program's user if it is `owned`."""
        from v2g.pki.keys import save_secret

        save_secret(self.stage(path), text.encode())
        if not owned:
            self._ours.add(path)

    def folder_for(self, data: Path | None, program: str) -> Path:
        """Return the folder of a program's data, absolute or relative to its configuration."""
        if data is not None:
            return data.absolute()
        return Path(f"/var/lib/v2g-engine/{program}") if self._owner else Path(program)

    def use_pki(self, given: Path | None, *, station: str, contract: str, hosts: tuple[str, ...]) -> None:
        """Take certificates from a PKI, which is made where there is none. Raises ConfigError."""
        from msgspec.structs import replace

        from pki_tools.layout import PkiOptions
        from pki_tools.tree import PkiTree, make_pki
        from v2g.pki.profile import Generation, KeyKind
        from v2g_cli.pki.common import now

        self.pki = self._pki_now = given or self._folder / "pki"
        if not self.pki.exists():
            self._pki_now = self.stage(self.pki)
            options = PkiOptions(station_id=station, emaid=contract, csms_hosts=hosts, gateway_id=GATEWAY)
            make_pki(self._pki_now, now=now(), options=options)
            older = replace(options, generation=Generation.ISO15118_2, key_kind=KeyKind.SECP256R1)
            make_pki(self._pki_now / OLDER, now=now(), options=older)
        PkiTree.load(self._pki_now)

    def both(self, name: str) -> tuple[str, ...]:
        """Return the file of this name in the PKI, and the one of the older edition where there is one."""
        return tuple(each for each in (name, f"{OLDER}/{name}") if each == name or (self._pki_now / each).exists())

    def certificate(self, name: str) -> Path:
        """Return the path of a file of the PKI, or of the program's copy: authorities' keys are not for programs."""
        source = self._pki_now / name
        if not source.is_file():
            hint = f"v2g pki make {self.pki} makes all that is needed"
            if name.startswith(OLDER):
                hint = f"--edition 20 needs none; v2g pki make {self.pki / OLDER} --generation {OLDER} makes it"
            raise ConfigError(f"{self.pki / name} is missing", hint=hint)
        if not self._owner:
            return (self.pki / name).absolute()
        target = self._copies / name
        if target.exists() and target.read_bytes() == source.read_bytes():
            return target
        if target.exists() and not self._replace:
            raise ConfigError(f"{target} is of another PKI", hint=f"--replace puts that of {self.pki} in its place")
        if target not in self._moves:
            shutil.copyfile(source, self.stage(target))
            self._moves[target].chmod(0o600)
        return target

    @property
    def _copies(self) -> Path:
        return self._folder.absolute() / "certs" / self._owner

    def _hand_over(self) -> None:
        """Give what was written to the program's user."""
        if self._ids is None:
            return
        for path in (*self._moves, self._copies, *self._copies.rglob("*")):
            if path != self.pki and path not in self._ours:
                shutil.chown(path, *self._ids)


def _ids_of(name: str) -> tuple[int, int]:
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise ConfigError(f"there is no user {name!r}", hint="systemd-sysusers makes those of the package") from None
    return found.pw_uid, found.pw_gid
