"""`v2g csms password`: passwords of stations, one or many."""

from pathlib import Path
from typing import Annotated

import typer

from csms.admission.rules import MAX_PASSWORDS
from v2g.errors import ConfigError, RefusedError
from v2g.text import numbered
from v2g_cli.csms.client import LOST
from v2g_cli.csms.show import client_of
from v2g_cli.output import say
from v2g_cli.passwords import PasswordFile, read_passwords

app = typer.Typer()


@app.command()
def password(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[STATION]...", help="Identities of stations.")] = None,
    file: Annotated[Path | None, typer.Option("--import", help="CSV of identity,password to set, mode 0600.")] = None,
    generate: Annotated[
        Path | None, typer.Option("--generate", help="New file, CSV of mode 0600, for random passwords.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--count", min=0, max=MAX_PASSWORDS, help="Number of stations, with the same names as in `v2g station`."
        ),
    ] = 0,
    prefix: Annotated[str, typer.Option("--prefix", help="Prefix of their identities.")] = "SIM",
    replace: Annotated[bool, typer.Option("--replace", help="Also replace existing passwords.")] = False,
    admit: Annotated[bool, typer.Option("--admit", help="Also admit these stations.")] = False,
) -> None:
    """Set passwords of stations, all or none, from a file or at random. Random ones are written once, to a new file.

    Examples: `v2g csms password --generate passwords.csv --count 20 --admit`,
    `v2g csms password --generate new.csv CS-1 CS-2 --replace`, `v2g csms password --import passwords.csv`
    """
    stations = [*(names or ()), *numbered(prefix, count)]
    if (file is None) == (generate is None):
        raise ConfigError("give either --import or --generate", hint="v2g csms password --help shows examples")
    body: dict[str, object] = {"replace": replace, "admit": admit}
    client = client_of(context)
    if file is not None:
        if stations:
            raise ConfigError("with --import the stations come from the file", hint="leave them out")
        passwords = [{"station_id": identity, "password": each} for identity, each in read_passwords(file).items()]
        body["passwords"] = passwords
        try:
            client.ask_until_done("POST", "/admissions/passwords", body)
        except RefusedError as error:
            if error.reason != LOST:
                raise
        say(f"{len(passwords)} passwords set")
        return
    assert generate is not None
    if not stations:
        raise ConfigError("no stations given", hint="list them, or use --count and --prefix")
    body["passwords"] = [{"station_id": identity} for identity in stations]
    made = PasswordFile(generate)
    try:
        answer = client.ask_until_done("POST", "/admissions/passwords", body).body
    except BaseException as error:
        made.discard()
        if isinstance(error, RefusedError) and error.reason == LOST:
            what = "passwords were set, but the answer with them was lost"
            raise RefusedError(what, reason=LOST, hint="set others: --replace") from None
        raise
    made.write({each["station_id"]: each["password"] for each in answer["made"]})
    say(f"{answer['count']} passwords set, and written to {generate}")
