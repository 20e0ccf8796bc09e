"""Who does what at a station: commands, programs over TCP, a prompt; each failure has its own verdict."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

from v2g.errors import ConfigError
from v2g_testkit.ocpp.case import Inconclusive, NotApplicable, NotExercised
from v2g_testkit.ocpp.driver import CommandDriver, NoDriver, PromptDriver, SocketDriver, Step, driver_of

PLUG = Step("plug", 2)


@pytest.mark.parametrize(
    ("step", "line", "sentence"),
    [
        (PLUG, "plug 2", "Plug the vehicle in at EVSE 2"),
        (Step("present", 1, "0A1B", "ISO14443"), "present 1 0A1B ISO14443", "Present the token 0A1B (ISO14443) at"),
        (Step("limit", value="6000"), "limit 1 6000",
         "Let the external system (energy manager) limit the station to 6000 W"),
        (Step("vehicle", value="contract"), "vehicle 1 contract",
         "Plug a vehicle of ISO 15118 in at EVSE 1 that has a"),
        (Step("reboot"), "reboot", "Switch the station off and on"),
    ],
)  # fmt: skip
def test_a_step_has_a_line_for_programs_and_a_sentence_for_people(step: Step, line: str, sentence: str) -> None:
    assert step.line == line
    assert step.sentence.startswith(sentence)


def test_without_anybody_the_case_is_not_exercised() -> None:
    with pytest.raises(NotExercised, match="Plug the vehicle in"):
        asyncio.run(NoDriver().do(PLUG))


@pytest.mark.parametrize(("typed", "raised"), [("", None), ("n", NotApplicable)])
def test_a_person_is_asked(typed: str, raised: type[Exception] | None) -> None:
    asked = []

    async def ask(sentence: str) -> str:
        asked.append(sentence)
        return typed

    work = PromptDriver(ask).do(PLUG)
    if raised is None:
        asyncio.run(work)
    else:
        with pytest.raises(raised):
            asyncio.run(work)
    assert asked == ["Plug the vehicle in at EVSE 2, then press Enter (n: not possible)"]


@pytest.mark.parametrize(
    ("program", "raised"),
    [
        ("import sys; sys.exit(sys.argv[1:] != ['plug', '2', '', ''])", None),
        ("import sys; sys.exit(3)", NotApplicable),
        ("import sys; sys.exit(1)", Inconclusive),
        ("import time; time.sleep(60)", Inconclusive),
    ],
)
def test_a_command_says_by_its_exit_code_whether_it_worked(program: str, raised: type[Exception] | None) -> None:
    command = f'{sys.executable} -S -c "{program}" {{action}} {{evse}} "{{token}}" "{{type}}"'
    work = CommandDriver(command, timeout_s=1.0 if "sleep" in program else 30).do(PLUG)
    if raised is None:
        asyncio.run(work)
    else:
        with pytest.raises(raised):
            asyncio.run(work)


def test_a_program_that_does_not_exist_is_said() -> None:
    with pytest.raises(Inconclusive, match="No such file"):
        asyncio.run(CommandDriver("/nowhere {action}").do(PLUG))


async def _answers(answer: bytes) -> Callable[[], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"plug 2\n"
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def play() -> None:
        async with server:
            await SocketDriver("127.0.0.1", port, timeout_s=5).do(PLUG)

    return play


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (b"ok\n", None),
        (b"no a vehicle is there\n", NotApplicable),
        (b"error \x1b[31mbroken\n", Inconclusive),
        (b"", Inconclusive),
        (b"x" * 5000, Inconclusive),
    ],
)
def test_a_program_answers_over_tcp(answer: bytes, raised: type[Exception] | None) -> None:
    async def run() -> None:
        await (await _answers(answer))()

    if raised is None:
        asyncio.run(run())
        return
    with pytest.raises(raised) as error:
        asyncio.run(run())
    assert "\x1b" not in str(error.value)


def test_a_program_that_does_not_answer_in_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(asyncio, "open_connection", never)
    with pytest.raises(Inconclusive, match=r"no driver at host:9100: no answer$"):
        asyncio.run(SocketDriver("host", 9100).do(Step("plug")))


@pytest.mark.parametrize("text", ["tcp://", "tcp://host:0", "tcp://host:99999", "cmd {unknown}", "cmd 'open", "cmd {"])
def test_what_is_no_driver_is_said(text: str) -> None:
    with pytest.raises(ConfigError):
        driver_of(text)


def test_an_address_is_a_program_and_the_rest_a_command() -> None:
    assert isinstance(driver_of("tcp://127.0.0.1:9100"), SocketDriver)
    assert isinstance(driver_of("relay.sh {action} {evse}"), CommandDriver)
