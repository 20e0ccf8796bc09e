"""Options of the powerline commands."""

from pathlib import Path
from typing import Annotated

import typer

InterfaceOption = Annotated[
    str | None, typer.Option("--interface", "-i", help="Network interface of a modem; needs CAP_NET_RAW.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", "-d", help="Serial port of a modem that no other program uses.")
]
BaudOption = Annotated[int, typer.Option("--baud", help="Baud rate of the serial port.")]
MediumOption = Annotated[
    Path | None, typer.Option("--medium", "-m", help="Folder of a simulated line, as RUN/medium of `v2g demo`.")
]
SecondsOption = Annotated[float | None, typer.Option("--seconds", help="Exit after this many seconds.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="JSON records, one a line.")]
FollowFlag = Annotated[bool, typer.Option("--follow", "-f", help="Follow the recording as it grows.")]
