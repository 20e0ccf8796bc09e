"""Variables of a station: found by component and text, and set one by one."""

from collections.abc import Mapping
from typing import Final

from csms.console.bulk import Field, Question, Said, ask, sure
from csms.console.listing import Act, Column, Listing, show_list
from csms.console.present import DASH
from csms.console.visit import Visit, action, page, place, segment
from csms.device_model import api as device_model
from csms.device_model.rules import VariableKey
from csms.http.pipeline import Answer
from csms.http.problems import ApiError

MUTABLE: Final = {"ReadOnly": "read", "WriteOnly": "written", "ReadWrite": "read and written"}
VARIABLES: Final = (
    Column("variable", "Variable", lambda row: _named(row, "variable")),
    Column("component", "Component", lambda row: _named(row, "component")),
    Column("evse", "EVSE", lambda row: row["evse_id"] or None, "number", phone=False),
    Column("value", "Value", lambda row: " ".join(filter(None, (row["value"], row["unit"])))),
    Column("attribute", "Attribute", lambda row: row["attribute"], phone=False),
    Column("after", "After its next boot", lambda row: row["after_reboot"], phone=False),
    Column("mutability", "May be", lambda row: MUTABLE.get(row["mutability"], row["mutability"]), "state", phone=False),
    Column("reported", "Reported", lambda row: row["value_ms"], "time", phone=False),
)


def _named(row: Mapping[str, object], kind: str) -> str:
    return f"{row[kind]} {row[f'{kind}_instance']}".rstrip()


def _key(row: Mapping[str, object]) -> str:
    return "/".join(segment(row[name]) for name in VariableKey.__struct_fields__)


@page("/stations/{station_id}/variables", device_model.list_variables)
async def list_variables(visit: Visit) -> Answer:
    """List a station's variables by component."""
    name = visit.path["station_id"]
    rows = [each async for each in visit.every(device_model.list_variables, station_id=name)]

    def acts(row: Mapping[str, object]) -> list[Act]:
        fixed = row["mutability"] == "ReadOnly" or row["constant"]
        return [] if fixed else [Act(f"/stations/{segment(name)}/variables", "Set …", {"key": _key(row)})]

    may = visit.may(device_model.write_variables)
    empty = "It has reported none."
    shown = Listing(title="Variables", columns=VARIABLES, rows=rows, key=_key, acts=acts if may else None, empty=empty)
    return await show_list(visit, shown, by=("component",), template="variables.html", name=name)


@action("/stations/{station_id}/variables", device_model.write_variables)
async def set_variable(visit: Visit) -> Answer:
    """Ask for the value of a variable, and set it at the station."""
    name = visit.path["station_id"]
    visit.back = place("stations", name, "variables")
    every = [each async for each in visit.every(device_model.list_variables, station_id=name)]
    row = next((each for each in every if _key(each) == visit.form.get("key")), None)
    if row is None:
        raise ApiError(404, "there is no such variable", "the station may have reported others meanwhile")
    what = f"{_named(row, 'component')} {_named(row, 'variable')}"
    if not sure(visit, 1) or "value" not in visit.form:
        now = " ".join(filter(None, (row["value"] or DASH, row["unit"])))
        effects = [Said("Now: {value}", {"value": now})]
        bounds = {name: str(row[f"{name}_limit"]) for name in ("min", "max") if row[f"{name}_limit"] is not None}
        if bounds:
            effects.append(Said("From {min} to {max}", {"min": DASH, "max": DASH, **bounds}))
        choices = row["values_list"].split(",") if row["data_type"] == "OptionList" and row["values_list"] else []
        choices = ["true", "false"] if row["data_type"] == "boolean" else choices
        visit.form = {"value": row["value"] or "", **visit.form, "do": ""}
        question = Question(
            text="Set {what}?",
            values={"what": what},
            effects=[*effects, Said("The station decides; some values hold after its next boot only.")],
            button="Set",
            fields=[Field("value", "Value", {each.strip(): each.strip() for each in choices})],
        )
        return ask(visit, question, visit.back, 1, [], kept={"key": _key(row)})
    component: dict[str, object] = {"name": row["component"]}
    if row["component_instance"]:
        component["instance"] = row["component_instance"]
    if row["evse_id"]:
        connector = {"connectorId": row["connector_id"]} if row["connector_id"] else {}
        component["evse"] = {"id": row["evse_id"], **connector}
    variable = {"name": row["variable"]} | ({"instance": row["variable_instance"]} if row["variable_instance"] else {})
    body = {"component": component, "variable": variable, "attributeType": row["attribute"]}
    wanted = {"variables": [{**body, "attributeValue": visit.form["value"].strip()}]}
    (found,) = await visit.ask(device_model.write_variables, wanted, station_id=name)
    status = found["attributeStatus"]
    failed = status not in ("Accepted", "RebootRequired")
    hint = "It holds after the station's next boot." if status == "RebootRequired" else ""
    return visit.see(visit.back, "{what}: {status}", hint, failed=failed, what=what, status=status)
