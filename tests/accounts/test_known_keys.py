"""The memory of keys is bounded, forgets whom it is told to, and lets nothing outlive its expiry."""

from tallystick.accounts.known_keys import Caller, KnownKeys

NEVER = float("inf")


def caller(organization: str, key: str) -> Caller:
    return Caller(
        organization=organization, account=1, key=key, prefix="tsk_", name=key, organization_state="active",
        default_max_tokens=None,
    )  # fmt: skip


def test_a_key_is_known_until_the_moment_it_expires() -> None:
    known = KnownKeys(10)
    known.put(b"1", caller("a", "k1"), 100.0)
    assert known.get(b"1", 99.9) == caller("a", "k1")
    assert known.get(b"1", 100.0) is None
    assert len(known) == 0
    assert known.get(b"2", 0.0) is None


def test_the_key_not_asked_for_longest_makes_room() -> None:
    known = KnownKeys(2)
    known.put(b"1", caller("a", "k1"), NEVER)
    known.put(b"2", caller("a", "k2"), NEVER)
    known.get(b"1", 0.0)
    known.put(b"3", caller("b", "k3"), NEVER)
    assert [known.get(digest, 0.0) is not None for digest in (b"1", b"2", b"3")] == [True, False, True]
    known.put(b"3", caller("b", "k3"), NEVER)
    assert len(known) == 2


def test_an_organization_is_forgotten_whole_and_alone() -> None:
    known = KnownKeys(10)
    for digest, organization in ((b"1", "a"), (b"2", "a"), (b"3", "b")):
        known.put(digest, caller(organization, "k"), NEVER)
    known.forget(b"2")
    known.forget(b"2")
    known.forget_organization("a")
    known.forget_organization("nobody")
    assert [known.get(digest, 0.0) is not None for digest in (b"1", b"2", b"3")] == [False, False, True]
    known.clear()
    assert len(known) == 0
    known.forget_organization("b")
