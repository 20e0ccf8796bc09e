"""Calls of webhooks: signed as in the standard's example, tried again for a day, and to hosts of the internet only."""

import base64
import json

import pytest

from csms.webhooks.rules import (
    ALLOW_HINT,
    ANNOUNCEMENTS,
    BACK_OFF_S,
    MAX_FAILURES,
    Reach,
    check_url,
    is_reach,
    make_secret,
    next_attempt,
    signature,
)
from tests.together import together
from v2g.errors import ConfigError


def test_a_call_is_signed_as_in_the_example_of_standard_webhooks() -> None:
    """Published with the specification 1.0.0."""
    body = json.dumps({"event_type": "ping", "data": {"success": True}}, separators=(",", ":")).encode()
    secret, message = "whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf"
    assert signature(secret, message, 1731705121, body) == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    assert make_secret(base64.b64decode("plJ3nmyCDGBKInavdOK15jsl")) == secret


def test_pauses_grow_to_a_day_and_end() -> None:
    pauses = [next_attempt(attempts, 7) for attempts in range(1, len(BACK_OFF_S) + 2)]
    assert pauses == [*(7 + each * 1000 for each in (5, 30, 120, 600, 3600, 21_600, 86_400)), None]
    assert MAX_FAILURES == 50
    assert {"alert_raised", "alert_cleared", "alert_escalated"} == ANNOUNCEMENTS


INVALID = "https://host/path, ASCII, without a password"
INSECURE = "http is for this machine only"


@together(
    ("url", "hint"),
    [
        ("https://", INVALID),
        ("https:///x", INVALID),
        ("https://a@c/", INVALID),
        ("https://:b@c/", INVALID),
        ("https://a:b@c/", INVALID),
        ("https://b\u00fccher.example/", INVALID),
        ("x", INVALID),
        ("http://billing.example/", INSECURE),
        ("http://127.0.0.2/", INSECURE),
        ("ftp://x/", INSECURE),
        ("ftp://localhost/", INSECURE),
        ("http://localhost/", ALLOW_HINT),
        ("http://127.0.0.1/", ALLOW_HINT),
        ("http://[::1]/", ALLOW_HINT),
        ("https://localhost./", ALLOW_HINT),
        ("https://LOCALHOST./", ALLOW_HINT),
        ("https://127.0.0.1./", ALLOW_HINT),
        ("https://10.0.0.1./", ALLOW_HINT),
        ("https://10.1.2.3/", ALLOW_HINT),
        ("https://127.1/", ALLOW_HINT),
        ("https://2130706433/", ALLOW_HINT),
        ("https://0x7f000001/", ALLOW_HINT),
        ("https://169.254.169.254/latest/meta-data", ALLOW_HINT),
        ("https://100.64.0.1/", ALLOW_HINT),
        ("https://[::1]/", ALLOW_HINT),
        ("https://[fe80::1]/", ALLOW_HINT),
        ("https://[fd00::1]/", ALLOW_HINT),
        ("https://[::ffff:10.0.0.1]/", ALLOW_HINT),
        ("https://[64:ff9b::7f00:1]/", ALLOW_HINT),
        ("https://[2002:7f00:1::]/", ALLOW_HINT),
        ("https://0.0.0.0/", ALLOW_HINT),
        ("https://224.0.0.1/", ALLOW_HINT),
        ("https://[ff0e::1]/", ALLOW_HINT),
        ("https://240.0.0.1/", ALLOW_HINT),
        ("https://[4000::1]/", ALLOW_HINT),
    ],
)
def test_a_url_that_is_not_to_be_called_is_refused(url: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url, Reach(["10.99.0.0/16", "billing.lan"]))
    assert caught.value.hint == hint


@pytest.mark.parametrize("url", ["https://[", "https://x:99999/"])
def test_a_url_that_is_none_is_named(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_url(url, Reach())
    assert str(caught.value).startswith(f"{url!r}: ")


@together(
    "url",
    [
        "https://billing.example:8443/hook?x=1",
        "https://billing.example./",
        "https://93.184.215.14/",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        "https://10.99.0.1/",
        "https://BILLING.lan/",
        "https://[64:ff9b::808:808]/",
        "https://[2002:808:808::]/",
        "https://[fd12::1%25eth0]/",
        "http://localhost/",
        "https://9.billing.lan/",
    ],
)
def test_hosts_of_the_internet_and_those_of_the_configuration_are_called(url: str) -> None:
    check_url(url, Reach(["10.99.0.0/16", "Billing.lan", "fd00::/8", "localhost"]))


def test_an_address_is_of_the_internet_or_allowed() -> None:
    reach = Reach(["10.99.0.0/16", "Billing.lan", "fd00::/8", "192.0.2.1"])
    assert {each for each in ("10.99.1.1", "10.98.1.1", "fd12::1", "93.184.215.14", "x", "192.0.2.1", "192.0.2.2",
                              "192.0.0.192", "64:ff9b:1::808:808", "::ffff:10.99.0.1", "fd12::1%eth0")
            if reach.takes(each)} == {
        "10.99.1.1", "fd12::1", "93.184.215.14", "192.0.2.1", "::ffff:10.99.0.1", "fd12::1%eth0",
    }  # fmt: skip
    assert (reach.takes("x"), reach.takes("10.98.1.1")) == (False, False)
    check_url("http://localhost/", Reach(["127.0.0.0/8"]))
    assert reach.names("billing.LAN")
    assert not reach.names("192.0.2.1")


@together(
    ("text", "names_some"),
    [
        ("billing.lan", True),
        ("_http.billing-1.lan9", True),
        ("x", True),
        ("10.0.0.0/8", True),
        ("10.1.2.3", True),
        ("10.1.2.3/8", True),
        ("fd00::/8", True),
        ("0.0.0.0/1", True),
        ("0.0.0.0/0", False),
        ("::/0", False),
        ("", False),
        ("*", False),
        ("10.1", False),
        ("-x", False),
        ("x-", False),
        ("billing.lan\n", False),
        ("https://billing.lan", False),
    ],
)
def test_what_may_be_called_is_a_host_an_address_or_a_network(text: str, names_some: bool) -> None:
    assert is_reach(text) is names_some
