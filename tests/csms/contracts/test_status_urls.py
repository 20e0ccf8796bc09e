"""Which responders and lists may be asked: URLs are compared as servers read them."""

from csms.trust.rules import may_ask
from tests.together import together

ALLOWED = (
    "https://[", "https:///lost/", "https://pki.example/ocsp/", "http://crl.example:8080/", "http://ca.example",
    "http://ca.example:81/ocsp",
)  # fmt: skip


@together(
    "url",
    [
        "https://pki.example/ocsp/",
        "https://PKI.example:443/ocsp/a/b?c=d",
        "https://pki.example/ocsp/%41",
        "https://pki.example/ocsp/~ca!",
        "http://crl.example:8080/list.crl",
        "http://crl.example:8080",
        "http://ca.example:80/list.crl",
        "http://ca.example:81/ocsp",
        "http://ca.example:81/ocsp/a",
    ],
)
def test_what_is_below_an_allowed_one_may_be_asked(url: str) -> None:
    assert may_ask(url, ALLOWED)


@together(
    "url",
    [
        "",
        "https://pki.example/",
        "http://ca.example:81/ocsp-of-others",
        "http://pki.example/ocsp/",
        "https://pki.example:8443/ocsp/",
        "https://pki.example/ocsp/../admin",
        "https://pki.example/ocsp/%2e%2e/admin",
        "https://pki.example/ocsp/%252e%252e/admin",
        "https://pki.example/ocsp/..\\admin",
        "https://pki.example/ocsp/./x",
        "https://pki.example/ocsp/\n",
        "https://pki.example/ocsp/%0a",
        "https://pki.example/ocsp/ ",
        "https://pki.example/ocsp/%20",
        "https://pki.example/ocsp/%7f",
        "https://pki.example/ocsp/\u00e9",
        "https:///lost/",
        "https://user@pki.example/ocsp/",
        "https://pki.example@evil.example/ocsp/",
        "https://pki.example:port/ocsp/",
        "https://[::1/ocsp/",
        "ftp://pki.example/ocsp/",
        "http://crl.example:8080.evil.example/",
    ],
)
def test_what_only_looks_like_it_may_not(url: str) -> None:
    assert not may_ask(url, ALLOWED)
