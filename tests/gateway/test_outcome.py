import pytest

from tallystick.base.errors import Misconfigured
from tallystick.gateway.delivery import Delivery
from tallystick.gateway.meter import Delivered
from tallystick.gateway.outcome import DEFAULT, Basis, Outcome, policy
from tallystick.gateway.wire import Refusal

FAILED = Refusal(status=502, code="upstream_failed", message="")
SOME = Delivered(content_bytes=5, content_events=1)


def test_every_outcome_has_a_rule_with_a_reason() -> None:
    assert set(DEFAULT) == set(Outcome)
    assert all(rule.why.endswith(".") for rule in DEFAULT.values())


def test_an_operator_changes_a_row_and_its_reason_says_so() -> None:
    changed = policy({"client_gone": "nothing"})
    assert changed[Outcome.CLIENT_GONE].basis is Basis.NOTHING
    assert "Set by the operator" in changed[Outcome.CLIENT_GONE].why
    assert changed[Outcome.EMPTY] == DEFAULT[Outcome.EMPTY]


@pytest.mark.parametrize("changes", [{"completed": "nothing"}, {"nosuch": "usage"}, {"empty": "half"}])
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        policy(changes)


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("delivery", "here", "left"),
    [
        (Delivery(delivered=SOME, finished=True), "completed", "client_gone"),
        (Delivery(delivered=SOME), "completed", "client_gone"),
        (Delivery(finished=True), "empty", "empty"),
        (Delivery(finished=True, cut_by_limit=True), "completed", "client_gone"),
        (Delivery(refusal=FAILED), "upstream_error", "upstream_error"),
        (Delivery(delivered=SOME, refusal=FAILED), "truncated", "truncated"),
        (Delivery(refusal=FAILED, refused=True), "refused", "refused"),
        (Delivery(delivered=SOME, refusal=FAILED, stopped=True), "stopped", "stopped"),
        (Delivery(refusal=FAILED, stopped=True), "our_fault", "our_fault"),
        (Delivery(delivered=SOME, refusal=FAILED, our_fault=True), "our_fault", "our_fault"),
    ],
)
def test_the_outcome_of_a_delivery(delivery: Delivery, here: str, left: str, gone: bool) -> None:
    assert delivery.outcome(client_gone=gone) == (left if gone else here)
