"""E-mail addresses have one form."""

import pytest

from tallystick.accounts.email_address import normalize_email
from tallystick.base.errors import InvalidInput


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.Lovelace+x@Example.COM\n", "ada.lovelace+x@example.com"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("o'neil@sub.example.co.uk", "o'neil@sub.example.co.uk"),
    ],
)
def test_one_form(given: str, stored: str) -> None:
    assert normalize_email(given) == stored


@pytest.mark.parametrize(
    "given",
    ["", "ada", "@example.com", "ada@", "ada@localhost", "a@b@example.com", "a b@example.com", "ada@example..com",
     "ada@-example.com", "ada@example-.com", "ada@.com", "ada@example.com\0", "ada@ex\u00e4mple.com",
     "\u0130@example.com", "ada@example.com\r\nBcc: x@example.com", "x" * 65 + "@example.com",
     "a@" + "b" * 64 + ".com", "a@" + "b." * 130 + "com",
     "<ada@example.com>", "' or 1=1 --@example.com", "a" * 1_000_000],
    ids=range(21),
)  # fmt: skip
def test_what_is_none_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        normalize_email(given)
    assert refused.value.field == "email"
