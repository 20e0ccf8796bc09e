"""Frames of a device: what is wrong with their form, and that a flood of nonsense ends nothing."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.errors import TransportError
from v2g_testkit.ocpp.case import Failed
from v2g_testkit.ocpp.connection import CallError, Connection, Frame, Inbox, malformed

FINE: list[Any] = [2, "1", "Heartbeat", {}]


@pytest.mark.parametrize(
    ("frame", "version", "fault"),
    [
        (FINE, "2.0.1", ""),
        ([3, "1", {}], "2.0.1", ""),
        ([4, "1", "NotSupported", "", {}], "2.0.1", ""),
        ([4, "-1", "RpcFrameworkError", "", {}], "2.0.1", ""),
        ([6, "1", "NotifyPeriodicEventStream", {}], "2.1", ""),
        ([6, "1", "NotifyPeriodicEventStream", {}], "2.0.1", "message type 6"),
        ([7, "1", {}], "2.1", "message type 7"),
        ([True, "1", {}], "2.1", "message type True"),
        ([2, "1", "Heartbeat"], "2.0.1", "3 elements instead of 4"),
        ([2, "", "Heartbeat", {}], "2.0.1", "message id ''"),
        ([2, "x" * 37, "Heartbeat", {}], "2.0.1", "message id"),
        ([2, 1, "Heartbeat", {}], "2.0.1", "message id 1"),
        ([4, "1", "Nonsense", "", {}], "2.0.1", "error code 'Nonsense'"),
        ([4, "1", "NotSupported", "x" * 256, {}], "2.0.1", "error description"),
        ([4, "1", "NotSupported", "", []], "2.0.1", "error description or details"),
        ([[], "1", "Heartbeat", {}], "2.0.1", "message type []"),
        ([4, "1", ["NotSupported"], "", {}], "2.0.1", "error code ['NotSupported']"),
        ([2, "1", "Heartbeat", None], "2.0.1", "payload None is not an object"),
        ([2, "1", 5, {}], "2.0.1", "action 5 is not a text"),
        ([3, "1", []], "2.0.1", "payload [] is not an object"),
        ([2, "1", "Heartbeat", {"customData": float("nan")}], "2.0.1", "not JSON"),
        ([4, "1", "FormationViolation", "", {}], "2.0.1", "error code 'FormationViolation'"),
        ([4, "1", "FormationViolation", "x" * 256, {}], "1.6", ""),
        ({}, "2.0.1", "not a message"),
    ],
)
def test_the_form_of_frames_is_judged(frame: Any, version: str, fault: str) -> None:
    found = malformed(json.dumps(frame), version)
    assert found.startswith(fault)
    assert bool(found) is bool(fault)


def test_a_binary_frame_is_named_as_such() -> None:
    """`OcppSocket.receive` returns one as an empty text."""
    assert malformed("", "2.1").startswith("an empty or binary frame")


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ('{"a": 1, "b": {"c": 2, "c": 2}}', "an object has the name 'c' twice"),
        (r'{"a": "\ud83d"}', "has half of a surrogate pair"),
        (r'{"\udc00": 1}', "has half of a surrogate pair"),
        (r'{"a": "\ud83d\ude00", "b": {"a": "ü"}}', ""),
    ],
)
def test_text_that_peers_may_read_differently_is_a_fault(payload: str, fault: str) -> None:
    """RFC 8259, 4 and 8.2: what two members of one name are, or half of a character, is up to the receiver."""
    for frame in (
        f'[2, "1", "Heartbeat", {payload}]',
        f'[3, "1", {payload}]',
        f'[4, "1", "NotSupported", "", {payload}]',
    ):
        found = malformed(frame, "2.0.1")
        assert (found.startswith(fault), bool(found)) == (True, bool(fault))


@given(st.text(max_size=200))
def test_any_text_is_judged(text: str) -> None:
    malformed(text, "2.1")


class Peer:
    """A socket whose device has sent some frames; `{id}` is the message id of the tester's first request."""

    identity, version = "CS-1", "2.0.1"

    def __init__(self, *frames: str) -> None:
        self._frames = list(frames)
        self.sent: list[Any] = []

    async def receive(self) -> str:
        await asyncio.sleep(0)
        if not self._frames:
            raise TransportError("gone")
        text = self._frames.pop(0)
        return text.replace("{id}", self.sent[0][1]) if self.sent else text

    async def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        self._frames.clear()


class Impatient(Peer):
    """Its device has sent all frames at once."""

    async def receive(self) -> str:
        return await super().receive() if not self._frames else self._frames.pop(0)


def connect(peer: Peer) -> tuple[Connection, Inbox, list[Frame]]:
    log: list[Frame] = []
    inbox = Inbox()
    found = Connection(peer, inbox, role="csms", answer=lambda *_: {}, log=log.append)  # type: ignore[arg-type]
    return found, inbox, log


def test_requests_are_answered_and_stored_and_nonsense_is_noted() -> None:
    async def run() -> None:
        peer = Peer(json.dumps(FINE), "not json", json.dumps([3, "9", {}]), "[" * 3000, json.dumps([2, "2", "X", {}]))
        connection, inbox, log = connect(peer)
        await connection.run()
        assert [each.action for each in inbox.messages] == ["Heartbeat", "X"]
        assert peer.sent == [[3, "1", {}], [3, "2", {}]]
        assert [each.fault for each in log if each.fault] == [
            "not JSON",
            "nested too deeply",
            "OCPP 2.0.1 has no XRequest",
        ]
        assert any("an answer to no request" in each.text for each in log if each.way == "note")
        assert not connection.is_open

    asyncio.run(run())


def test_a_frame_is_logged_when_it_arrives_also_before_the_earlier_one_is_answered() -> None:
    """So a device that does not wait for answers (OCPP-J 4.1.1) is found."""

    async def run() -> list[tuple[str, str]]:
        connection, _, log = connect(Impatient(json.dumps(FINE), json.dumps([2, "2", "Heartbeat", {}])))
        await connection.run()
        return [(each.way, json.loads(each.text)[1]) for each in log if each.way != "note"]

    assert asyncio.run(run()) == [("received", "1"), ("received", "2"), ("sent", "1"), ("sent", "2")]


def test_message_ids_of_the_tester_never_repeat() -> None:
    """On no connection of an identity (OCPP-J 4.1.4)."""

    async def ids() -> set[str]:
        peer = Peer()
        for _ in range(3):
            connection, _, _ = connect(peer)
            with pytest.raises(Failed):
                await connection.call("Heartbeat", {}, 0.001)
        return {each[1] for each in peer.sent}

    found = asyncio.run(ids())
    assert len(found) == 3
    assert max(map(len, found)) <= 36


def test_a_request_that_cannot_be_read_is_refused_and_the_next_one_answered() -> None:
    async def run() -> None:
        peer = Peer(json.dumps([2, "1", "GetVariables", {}]), json.dumps(FINE))
        answer = lambda action, payload: payload["getVariableData"] if action == "GetVariables" else {}  # noqa: E731
        connection = Connection(peer, Inbox(), role="station", answer=answer, log=lambda _: None)  # type: ignore[arg-type]
        await connection.run()
        assert [each[:3] for each in peer.sent] == [[4, "1", "FormatViolation"], [3, "1", {}]]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "raised"),
    [([3, "{id}", {}], None), ([4, "{id}", "NotSupported", "\x1b[31mno", {}], CallError), (None, Failed)],
)
def test_a_call_ends_with_the_answer_or_with_the_connection(answer: Any, raised: type[Exception] | None) -> None:
    async def run() -> None:
        connection, _, _ = connect(Peer(*([json.dumps(answer)] if answer else [])))
        asked = asyncio.create_task(connection.call("Heartbeat", {}, 5))
        await asyncio.sleep(0)
        await connection.run()
        if raised is None:
            assert await asked == {}
            return
        with pytest.raises(raised) as error:
            await asked
        assert "\x1b" not in str(error.value)

    asyncio.run(run())


def test_what_is_taken_may_have_come_before_and_can_drop_what_came_earlier() -> None:
    async def run() -> None:
        connection, inbox, _ = connect(Peer(*(json.dumps([2, str(n), name, {}]) for n, name in enumerate("ABCB"))))
        await connection.run()
        found = await inbox.take(lambda each: each.action == "B", 1, skip=True)
        assert found is not None
        assert [each.action for each in inbox.messages] == ["C", "B"]
        assert await inbox.take(lambda each: each.action == "A", 0.01) is None

    asyncio.run(run())
