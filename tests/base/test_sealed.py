"""A sealed value opens with its own key in its own place, and nowhere else."""

from base64 import b64encode

import pytest

from tallystick.base.errors import Misconfigured
from tallystick.base.sealed import SealBroken, Sealer

OLD, NEW = bytes(range(32)), bytes(range(100, 132))


def test_what_was_sealed_opens_in_its_place() -> None:
    sealer = Sealer({"a": OLD})
    key_id, sealed = sealer.seal(b"sk-secret", "org_1/openai")
    assert key_id == "a"
    assert b"sk-secret" not in sealed
    assert sealer.open(key_id, sealed, "org_1/openai") == b"sk-secret"


def test_the_same_value_never_looks_the_same_twice() -> None:
    sealer = Sealer({"a": OLD})
    assert sealer.seal(b"x", "place") != sealer.seal(b"x", "place")


def test_another_place_does_not_open_it() -> None:
    sealer = Sealer({"a": OLD})
    key_id, sealed = sealer.seal(b"sk-secret", "org_1/openai")
    with pytest.raises(SealBroken):
        sealer.open(key_id, sealed, "org_2/openai")


@pytest.mark.parametrize(
    "damage", [lambda s: s[:-1], lambda s: s[:-1] + bytes([s[-1] ^ 1]), lambda _: b"", lambda s: s[:12]]
)
def test_an_altered_value_does_not_open(damage) -> None:
    sealer = Sealer({"a": OLD})
    key_id, sealed = sealer.seal(b"sk-secret", "place")
    with pytest.raises(SealBroken):
        sealer.open(key_id, damage(sealed), "place")


def test_rotation_seals_with_the_first_key_and_opens_with_all() -> None:
    old_id, old_sealed = Sealer({"old": OLD}).seal(b"before", "place")
    rotated = Sealer({"new": NEW, "old": OLD})
    assert rotated.open(old_id, old_sealed, "place") == b"before"
    assert rotated.seal(b"after", "place")[0] == "new"


def test_a_key_that_was_dropped_is_named() -> None:
    key_id, sealed = Sealer({"old": OLD}).seal(b"before", "place")
    with pytest.raises(Misconfigured, match="'old'"):
        Sealer({"new": NEW}).open(key_id, sealed, "place")


def test_the_setting_is_parsed_in_order() -> None:
    setting = f" new:{b64encode(NEW).decode()} , old:{b64encode(OLD).decode()} "
    key_id, sealed = Sealer.parse(setting).seal(b"x", "place")
    assert Sealer({"new": NEW}).open(key_id, sealed, "place") == b"x"


GOOD = b64encode(OLD).decode()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "no sealing key"),
        (" , ", "no sealing key"),
        (GOOD, "number 1"),
        (f":{GOOD}", "number 1"),
        (f"a:{GOOD},{GOOD}", "number 2"),
        (f"a:{GOOD},a:{GOOD}", "twice"),
        ("a:not*base64", "'a' is not valid base64"),
        ("a:\u00e9", "'a' is not valid base64"),
        ("a:c2hvcnQ=", "5 bytes"),
        ("a:", "0 bytes"),
    ],
)
def test_a_wrong_setting_stops_with_a_reason_and_without_the_key(setting: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as refused:
        Sealer.parse(setting)
    assert GOOD not in str(refused.value)
    assert "not*base64" not in str(refused.value)
