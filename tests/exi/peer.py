"""An EXI processor that is not ours, as a process beside the tests."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tests import packages
from tests.exi import official
from v2g.exi.declare import Schema
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.schemas import AC, ACDP, COMMON_MESSAGES, DC, WPT
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.schemas import APP_PROTOCOL, XMLDSIG

FILES = {
    APP_PROTOCOL: official.APP_PROTOCOL,
    XMLDSIG: official.XMLDSIG,
    COMMON_MESSAGES: official.COMMON_MESSAGES,
    AC: official.AC,
    DC: official.DC,
    WPT: official.WPT,
    ACDP: official.ACDP,
    ISO2: official.ISO2,
    DIN: official.DIN,
}
"""The schema file of each grammar."""


def missing(*, install: bool) -> str:
    """Return why the processor cannot run here, or an empty string. Root may install Java."""
    return packages.missing("openjdk-17-jre-headless", program="java", install=install)


class PeerError(Exception):
    """What the processor answered instead of a result."""


class PeerCodec:
    """The processor; one question at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("peer_driver.py")), str(folder / "EXICodec.jar")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(official.bridge_folder())},
        )

    def __enter__(self) -> "PeerCodec":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()  # the end of its input ends it, and its Java
        assert self._process.returncode == 0

    def encode(self, schema: Schema, xml: str, *, fragment: bool) -> bytes:
        """Return the stream that the processor makes of XML. Raises PeerError."""
        return bytes.fromhex(self._ask(schema, fragment, xml=xml)["exi"])

    def decode(self, schema: Schema, octets: bytes, *, fragment: bool) -> str:
        """Return the XML that the processor makes of a stream. Raises PeerError."""
        return str(self._ask(schema, fragment, exi=octets.hex())["xml"])

    def _ask(self, schema: Schema, fragment: bool, **what: str) -> Any:
        question = {"schema": str(self._folder / FILES[schema]), "fragment": fragment, **what}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer
