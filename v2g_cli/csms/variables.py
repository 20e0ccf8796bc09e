"""`v2g csms`: settings of stations, as variables of their device models (B05 to B07)."""

import re
from typing import Annotated, Final

import typer

from v2g.errors import ConfigError, OcppError
from v2g_cli.csms.show import JsonFlag, StationName, client_of, part, show_one

app = typer.Typer()
_NAME: Final = re.compile(
    r"(?P<component>[^.\[\]#]+)(#(?P<evse>[0-9]+))?\.(?P<variable>[^.\[\]]+)(\[(?P<instance>.+)\])?"
)
_SET: Final = ("Accepted", "RebootRequired")


@app.command("set")
def set_variable(
    context: typer.Context,
    name: StationName,
    variable: Annotated[
        str,
        typer.Argument(
            metavar="VARIABLE", help="Variable, such as OCPPCommCtrlr.HeartbeatInterval or EVSE#1.Power[Max]."
        ),
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="New value.")],
    json: JsonFlag = False,
) -> None:
    """Set a variable of a station and print its answer.

    Example: `v2g csms set CS-V2G-0001 OCPPCommCtrlr.HeartbeatInterval 600`
    """
    found = _NAME.fullmatch(variable)
    if found is None:
        raise ConfigError(
            f"{variable!r} is not the name of a variable", hint="COMPONENT.VARIABLE, COMPONENT#EVSE.VARIABLE[INSTANCE]"
        )
    component: dict[str, object] = {"name": found["component"]}
    if found["evse"]:
        component["evse"] = {"id": int(found["evse"])}
    which = {"name": found["variable"]} | ({"instance": found["instance"]} if found["instance"] else {})
    wanted = {"component": component, "variable": which, "attributeValue": value}
    (result,) = client_of(context).ask("POST", f"/stations/{part(name)}/variables", {"variables": [wanted]}).body
    show_one(result, json=json)
    if result["attributeStatus"] not in _SET:
        raise OcppError(f"the station answered {result['attributeStatus']}", answer=result["attributeStatus"])
