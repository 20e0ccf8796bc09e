"""Functional block B, provisioning, of OCPP 2.1: resets that transactions survive, network profiles by variables;
cases for charging stations."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, precondition
from v2g_testkit.ocpp.station_cases.block_a import PASSWORD, VARIABLE, kept
from v2g_testkit.ocpp.station_cases.block_e_21 import may_resume, resumes
from v2g_testkit.ocpp.station_cases.steps import PRIORITY, boot, offer, reset
from v2g_testkit.ocpp.station_tester import StationTest

B_21: Final[Block[StationTest]] = Block(versions=("2.1",))


# -- reset (B13)


@B_21.case("TC_B_101_CS", "Reset that transactions survive, with ResumptionTimeout 0")
async def reset_rejected(t: StationTest) -> None:
    """The station rejects the reset, and continues to charge."""
    await t.demand("TxCtrlr", "ResumptionTimeout", "0")
    await t.charging()
    await t.must_answer("Rejected", "B13.FR.01", "Reset", type="ImmediateAndResume")
    await t.nothing("TransactionEvent", "B13.FR.01", within=5, triggerReason="ResetCommand")


def _case_of_reset(number: int, *, energy: bool) -> None:
    requirement = "B13.FR.24" if energy else "B13.FR.25"

    @B_21.case(
        f"TC_B_{number}_CS",
        f"Reset that transactions survive, {'with' if energy else 'without'} energy afterwards",
        requirements=("B13.FR.03", "B13.FR.04", "B13.FR.21", "B13.FR.23", requirement, "B13.FR.30"),
    )
    async def script(t: StationTest) -> None:
        """The station reports the reset, boots, and resumes the transaction."""
        await may_resume(t, 300, energy=energy)
        transaction = await t.charging()
        async with t.reconnects():
            await t.must_answer("Accepted", "B13.FR.03", "Reset", type="ImmediateAndResume")
        await t.expect(
            "TransactionEvent",
            "B13.FR.04",
            eventType="Updated",
            triggerReason="ResetCommand",
            transactionInfo__transactionId=transaction,
        )
        await boot(t, "B13.FR.21")
        await resumes(t, transaction, requirement, energy=energy)


_case_of_reset(102, energy=False)
_case_of_reset(103, energy=True)


@B_21.case("TC_B_104_CS", "Reset that transactions survive, without a transaction", also="B01.FR.01")
async def reset_idle(t: StationTest) -> None:
    """The station accepts the reset, boots as after any other, and sends no events of transactions."""
    await may_resume(t, 300)
    async with t.reconnects():
        await t.must_answer("Accepted", "B13.FR.02", "Reset", type="ImmediateAndResume")
    t.equal((await boot(t))["reason"], "RemoteReset", "B13.FR.02", "boots with the reason {}")
    await t.nothing("TransactionEvent", "B13.FR.02", within=5)


# -- network profiles (B09)

_PASSWORD: Final = "a-password-of-the-tester"  # noqa: S105 - no secret


async def _free_slot(t: StationTest) -> str:
    """Return a slot of the station that is not in use, if it can be an empty one. What can be read of it is written
    back after the case. Raises NotApplicable."""
    priority = (await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")).split(",")
    slots = {str(each["component"].get("instance")) for each in _entries(t)}
    free = sorted(slots - {each.strip() for each in priority})
    t.needs(bool(free), "it has no free slot for a network profile")
    urls = {slot: (await _slot(t, slot, "OcppCsmsUrl")).get("attributeValue") for slot in free}
    slot = min(free, key=lambda each: bool(urls[each]))
    names = {each["variable"]["name"] for each in _entries(t, slot) if _is_writable(each)}
    before = {name: str((await _slot(t, slot, name)).get("attributeValue", "")) for name in names}
    if before:
        t.undo(lambda: _put(t, slot, before))
    return slot


def _entries(t: StationTest, slot: str = "") -> list[Payload]:
    """Return what the station has reported of network profiles, or of one."""
    found = [each for each in t.reported if each["component"]["name"] == "NetworkConfiguration"]
    return [each for each in found if not slot or str(each["component"].get("instance")) == slot]


def _is_writable(entry: Payload) -> bool:
    """Return whether a reported variable can be set."""
    return bool(entry["variableAttribute"][0].get("mutability", "ReadWrite") != "ReadOnly")


async def _slot(t: StationTest, slot: str, variable: str) -> Payload:
    """Return the result of reading a variable of a slot."""
    place = {"component": {"name": "NetworkConfiguration", "instance": slot}, "variable": {"name": variable}}
    answer = await t.ask("GetVariables", getVariableData=[place])
    found: Payload = answer["getVariableResult"][0]
    return found


async def _put(t: StationTest, slot: str, values: dict[str, str]) -> dict[str, str]:
    """Set variables of a slot; return the status of each."""
    data = [
        {"component": {"name": "NetworkConfiguration", "instance": slot}, "variable": {"name": name},
         "attributeValue": value}
        for name, value in values.items()
    ]  # fmt: skip
    answer = await t.ask("SetVariables", setVariableData=data)
    return {each["variable"]["name"]: each["attributeStatus"] for each in answer["setVariableResult"]}


async def _profile(t: StationTest) -> dict[str, str]:
    """Return the variables of the slot in use that another needs."""
    slot = (await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")).split(",")[0].strip()
    names = ("OcppCsmsUrl", "OcppInterface", "OcppTransport", "MessageTimeout", "SecurityProfile")
    found = {name: await _slot(t, slot, name) for name in names}
    return {name: str(each["attributeValue"]) for name, each in found.items() if each["attributeStatus"] == "Accepted"}


def _by_variables(t: StationTest) -> None:
    urls = (each for each in _entries(t) if each["variable"]["name"] == "OcppCsmsUrl")
    t.needs(any(map(_is_writable, urls)), "its network profiles cannot be set by variables")


@B_21.case("TC_B_100_CS", "Network profile with an identity and a password", requirements="B09.FR.09 B09.FR.11")
async def profile_with_identity(t: StationTest) -> None:
    """The station accepts the profile, and has it in the variables of its slot, but for the password."""
    slot, now = await _free_slot(t), await _profile(t)
    data = {
        "ocppVersion": "OCPP21", "ocppTransport": "JSON", "ocppInterface": now.get("OcppInterface", "Any"),
        "ocppCsmsUrl": now["OcppCsmsUrl"], "messageTimeout": 30, "securityProfile": int(now["SecurityProfile"]),
        "identity": "CS-V2G-OTHER", "basicAuthPassword": _PASSWORD,
    }  # fmt: skip
    t.hide(_PASSWORD)
    plain = {name: value for name, value in data.items() if name not in ("identity", "basicAuthPassword")}
    # its password cannot be read, and written back
    t.undo(lambda: t.ask("SetNetworkProfile", configurationSlot=int(slot), connectionData=plain))
    await t.must_answer("Accepted", "B09.FR.01", "SetNetworkProfile", configurationSlot=int(slot), connectionData=data)
    for name, value in (("Identity", "CS-V2G-OTHER"), ("ApnEnabled", "false"), ("VpnEnabled", "false")):
        found = (await _slot(t, slot, name)).get("attributeValue", "")
        requirement = "B09.FR.09" if name == "Identity" else "B09.FR.11"
        t.check(found.lower() == value.lower(), requirement, f"{name} of the slot is {found or 'empty'}")
    secret = await _slot(t, slot, "BasicAuthPassword")
    t.check(secret["attributeStatus"] == "Rejected", "B06.FR.09", "lets the password be read")


@B_21.case("TC_B_105_CS", "Network profile by variables", also="B09.FR.08 B09.FR.10")
async def profile_by_variables(t: StationTest) -> None:
    """The station takes the variables of a free slot, uses it first after a reset, and connects."""
    _by_variables(t)
    slot, values = await _free_slot(t), await _profile(t)
    results = await _put(t, slot, values)
    wrong = [name for name, status in results.items() if status != "Accepted"]
    t.check(not wrong, "B09.FR.24", f"does not take {', '.join(wrong)}")
    before = await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")
    t.undo(lambda: reset(t))  # after the priority is as before: so that it is connected by another slot
    status = await t.set("OCPPCommCtrlr", "NetworkConfigurationPriority", f"{slot},{before}")
    t.check(status in ("Accepted", "RebootRequired"), "B09.FR.33", f"answers {status} to the new priority")
    async with t.reconnects():
        await t.ask("Reset", type="OnIdle")
    await boot(t)
    active = await t.get("OCPPCommCtrlr", "ActiveNetworkProfile")
    if active["attributeStatus"] == "Accepted":
        found = active.get("attributeValue")
        t.check(found == slot, "B09.FR.33", f"uses the profile {found} instead of {slot}")


@B_21.case("TC_B_107_CS", "Slots are added to the priority and removed", requirements="B09.FR.20 B09.FR.33 B09.FR.34")
async def slots(t: StationTest) -> None:
    """The station takes a slot that is configured, and its removal; it rejects one that is empty."""
    _by_variables(t)
    slot, values = await _free_slot(t), await _profile(t)
    before = await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")
    with precondition():
        results = await _put(t, slot, values)
        t.check(set(results.values()) == {"Accepted"}, "B09.FR.24", f"answers {results}")
    for wanted, expected, requirement in (
        (f"{before},{slot}", "Accepted", "B09.FR.33"),
        (before, "Accepted", "B09.FR.20"),
        (f"{before},4711", "Rejected", "B09.FR.34"),
    ):
        status = await t.set("OCPPCommCtrlr", "NetworkConfigurationPriority", wanted)
        fine = status == expected or (expected == "Accepted" and status == "RebootRequired")
        t.check(fine, requirement, f"answers {status} to the priority {wanted}")


@B_21.case("TC_B_108_CS", "The slot in use is not overwritten")
async def slot_in_use(t: StationTest) -> None:
    """The station rejects a variable of a slot in NetworkConfigurationPriority, and keeps its value."""
    _by_variables(t)
    slot = (await t.value("OCPPCommCtrlr", "NetworkConfigurationPriority")).split(",")[0].strip()
    before = (await _slot(t, slot, "MessageTimeout")).get("attributeValue")
    other = "77" if before != "77" else "78"
    status = (await _put(t, slot, {"MessageTimeout": other}))["MessageTimeout"]
    t.check(status == "Rejected", "B09.FR.22", f"answers {status}")  # a SHALL, by the errata of 2025-09
    found = (await _slot(t, slot, "MessageTimeout")).get("attributeValue")
    t.check(found == before, "B09.FR.22", f"has the value {found} instead of {before}")


@B_21.case(
    "TC_B_109_CS",
    "A new password, while the slot in use has one of its own",
    requirements="B09.FR.27 A01.FR.01 A01.FR.02",
)
async def password_of_controller(t: StationTest) -> None:
    """The station connects with the password of the slot, then with the new one of SecurityCtrlr."""
    kept(t, _PASSWORD, PASSWORD)
    slot, before = await _free_slot(t), await t.value(*PRIORITY)
    with precondition():
        now = await _profile(t)
        _, answer = await offer(t, now["OcppCsmsUrl"], to=slot, basicAuthPassword=_PASSWORD)
        t.check(answer["status"] == "Accepted", "B09.FR.01", f"answers {answer['status']}")
        t.undo(lambda: reset(t))
        await t.set(*PRIORITY, f"{slot},{before}")
        await reset(t)
        t.check(t.opening.password == _PASSWORD, "B09.FR.01", "connects without the password of the slot")
    async with t.reconnects():
        status = t.one_of(await t.write(*VARIABLE, PASSWORD), ("Accepted", "RebootRequired"), "A01.FR.02", "answers {}")
        if status == "RebootRequired":
            await t.ask("Reset", type="OnIdle")
    t.check(t.opening.password == PASSWORD, "B09.FR.27", "connects with another password")


def _case_of_downgrade(number: int, *, allowed: bool, by_variables: bool) -> None:
    requirement = {(True, False): "B09.FR.31", (True, True): "B09.FR.32",
                   (False, False): "B09.FR.04", (False, True): "B09.FR.35"}[allowed, by_variables]  # fmt: skip

    @B_21.case(
        f"TC_B_{number}_CS",
        ("No downgrade to security profile 1" if allowed else "No lower security profile")
        + (", by variables" if by_variables else ""),
        required="The station rejects the security profile"
        + (", although it allows downgrades." if allowed else ", as it does not allow downgrades."),
        requirements=(requirement,),
    )
    async def script(t: StationTest) -> None:
        # let the station take lower security profiles, or not. Raises NotApplicable
        t.needs(t.opening.security_profile > 1, "its security profile is the lowest")
        if allowed or (await t.get(*_DOWNGRADE))["attributeStatus"] == "Accepted":
            await t.demand(*_DOWNGRADE, str(allowed).lower())
        level = 1 if allowed else t.opening.security_profile - 1
        if by_variables:
            _by_variables(t)
        slot = await _free_slot(t)
        if by_variables:
            status = (await _put(t, slot, {"SecurityProfile": str(level)}))["SecurityProfile"]
        else:
            url = f"{'ws' if level == 1 else 'wss'}://{t.opening.host}/ocpp"
            status = (await offer(t, url, level, to=slot))[1]["status"]
        t.check(status == "Rejected", requirement, f"answers {status} to security profile {level}")


_DOWNGRADE: Final = ("SecurityCtrlr", "AllowSecurityProfileDowngrade")
_case_of_downgrade(110, allowed=True, by_variables=False)
_case_of_downgrade(111, allowed=True, by_variables=True)
_case_of_downgrade(112, allowed=False, by_variables=False)
_case_of_downgrade(113, allowed=False, by_variables=True)
