"""Writes firmware into the inactive slot and starts it: by RAUC, by commands of the device, or in folders on a bench.

Of two slots one is active, the other takes an image. `activate` starts the other one *once*, on trial; `confirm` makes
it permanent. With such a boot loader the device returns to the old firmware by itself if the new one does not even
start.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.errors import InstallError

BAD_IMAGE: Final = 65
"""Exit code of an install command for a bad image (EX_DATAERR)."""

IMAGE: Final = "{image}"

Argv = Annotated[tuple[str, ...], Meta(min_length=1)]


class Installer(Protocol):
    """The device's part. Every step may be repeated after a kill. Raises InstallError."""

    async def running(self) -> str:
        """Return the name of the running slot."""

    async def install(self, image: Path) -> None:
        """Write an image into the inactive slot, and verify what was written."""

    async def activate(self) -> None:
        """Start the other slot, once; the device restarts."""

    async def confirm(self) -> None:
        """Make the running slot permanent."""

    async def roll_back(self) -> None:
        """Start the previous slot; the device restarts."""

    def image(self) -> Path | None:
        """Return a file that begins with the image that runs, or None: then it cannot be patched."""

    def back(self) -> tuple[Argv, ...]:
        """Return the command that prints the running slot, and those that start the previous one, for
        `deploy/trial.py`; none where its boot loader does without."""


class CommandsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A command for each step, as a list of arguments without a shell. It has failed if it exits with a code other than
    0, or not in time."""

    running: Argv
    """Prints the name of the running slot."""
    install: Argv
    """Writes the image at the path `{image}` into the other slot and verifies it; exits with 65 for a bad image."""
    activate: Argv
    """Lets the other slot start once, and restarts the device."""
    confirm: Argv
    """Makes the running slot permanent."""
    roll_back: Argv
    """Starts the previous slot, and restarts the device."""
    image: Path | None = None
    """File or device that begins with the image that runs, such as `/dev/disk/by-label/running`; with it, updates may
    be patches."""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 900.0
    """A command that takes longer is killed and counts as failed."""


class CommandInstaller:
    """Runs the device's own commands. See Installer."""

    def __init__(self, config: CommandsConfig) -> None:
        self._config = config

    async def running(self) -> str:
        slot = (await self._run("running", self._config.running)).strip()
        if len(slot.split()) != 1:
            raise InstallError(f"{self._config.running[0]} printed no slot name")
        return slot

    async def install(self, image: Path) -> None:
        await self._run("install", tuple(each.replace(IMAGE, str(image.absolute())) for each in self._config.install))

    async def activate(self) -> None:
        await self._run("activate", self._config.activate)

    async def confirm(self) -> None:
        await self._run("confirm", self._config.confirm)

    async def roll_back(self) -> None:
        await self._run("roll_back", self._config.roll_back)

    def image(self) -> Path | None:
        return self._config.image

    def back(self) -> tuple[Argv, ...]:
        return self._config.running, self._config.roll_back

    async def _run(self, step: str, argv: tuple[str, ...]) -> str:
        return await _run(step, argv, self._config.timeout_s)


class RaucConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Slots and images of RAUC, whose `system.conf` has `activate-installed=false`: an image is started by its own
    step. RAUC checks its bundles' signatures itself, too."""

    program: Argv = ("rauc",)
    """The command, with options such as `--conf=FILE`."""
    restart: Argv = ("systemctl", "reboot")
    """Restarts the device."""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 900.0
    """A command that takes longer is killed and counts as failed."""


class RaucInstaller:
    """Installs bundles by RAUC's own command. See Installer."""

    def __init__(self, config: RaucConfig) -> None:
        self._config = config

    async def running(self) -> str:
        text = await _run("running", self.back()[0], self._config.timeout_s)
        try:
            return typed_json.decode(text.strip().rpartition("\n")[2], _RaucStatus).booted
        except msgspec.DecodeError as error:
            raise InstallError(f"running: {self._config.program[0]} status: {error}") from None

    async def install(self, image: Path) -> None:
        try:
            await self._rauc("install", "info", str(image))
        except InstallError as error:
            raise InstallError(str(error), verification=True) from None
        await self._rauc("install", "install", str(image))

    async def activate(self) -> None:
        await self._rauc("activate", "status", "mark-active", "other")
        await _run("activate", self._config.restart, self._config.timeout_s)

    async def confirm(self) -> None:
        await self._rauc("confirm", "status", "mark-good", "booted")

    async def roll_back(self) -> None:
        for argv in self.back()[1:]:
            await _run("roll_back", argv, self._config.timeout_s)

    def image(self) -> Path | None:
        """See Installer: RAUC has adaptive updates of its own."""
        return None

    async def _rauc(self, step: str, *arguments: str) -> str:
        return await _run(step, (*self._config.program, *arguments), self._config.timeout_s)

    def back(self) -> tuple[Argv, ...]:
        rauc, marks = self._config.program, (("mark-bad", "booted"), ("mark-active", "other"))
        status = (*rauc, "status", "--output-format=json")
        return status, *((*rauc, "status", *mark) for mark in marks), self._config.restart


class _RaucStatus(msgspec.Struct, frozen=True):
    booted: Annotated[str, Meta(min_length=1, max_length=64)]


async def _run(step: str, argv: tuple[str, ...], timeout_s: float) -> str:
    """Run a command; return its output, without warnings beside it. Raises InstallError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise InstallError(f"{step}: {argv[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout_s):
            output, errors = await process.communicate()
    except TimeoutError:
        raise InstallError(f"{step}: {argv[0]} did not finish within {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if process.returncode:
        lines = (output[-4096:] + b"\n" + errors[-4096:]).decode(errors="replace").strip().split("\n")
        last = next((each for each in lines if each.startswith("LastError:")), lines[-1])[:200]  # RAUC's word for why
        raise InstallError(
            f"{step}: {argv[0]} exited with code {process.returncode}: {last}",
            verification=process.returncode == BAD_IMAGE,
        )
    return output[-4096:].decode(errors="replace")
