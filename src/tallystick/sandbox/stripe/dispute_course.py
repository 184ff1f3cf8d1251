"""The course of a dispute: the money goes, evidence is looked at, and sometimes the money comes back.

warning_needs_response -> warning_under_review -> warning_closed      (an inquiry: no money has moved)
         \\________________________\\____ escalated
                                        v
                                 needs_response -> under_review -> won | lost
"""

from typing import Final

from tallystick.sandbox.stripe import balance_transaction
from tallystick.sandbox.stripe.amount import units
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

INQUIRY: Final = ("warning_needs_response", "warning_under_review")
OPEN: Final = ("needs_response", "under_review")
RESPOND_WITHIN_S: Final = 9 * 24 * 3600
_INQUIRY_ENDS_S: Final = 120 * 24 * 3600
_FEE_UNITS: Final = 15


def begin(world: World, dispute: Object) -> None:
    """Told once of a new dispute: takes the money, unless it is an inquiry, and notes what falls due."""
    if dispute["status"] in INQUIRY:
        world.emit("charge.dispute.created", dispute)
        world.later(dispute["created"] + _INQUIRY_ENDS_S, "dispute.end_inquiry", dispute["id"])
        return
    _withdraw(world, dispute)
    world.emit("charge.dispute.created", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    world.later(dispute["evidence_details"]["due_by"], "dispute.respond_by", dispute["id"])


def escalate(world: World, dispute: Object) -> None:
    """The bank makes a dispute of an inquiry."""
    _check(dispute, *INQUIRY)
    due_by = world.now() + RESPOND_WITHIN_S
    details = {**dispute["evidence_details"], "due_by": due_by}
    changes = {"status": "needs_response", "is_charge_refundable": False, "evidence_details": details}
    _withdraw(world, dispute)
    world.change(dispute, "charge.dispute.updated", changes)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    world.later(due_by, "dispute.respond_by", dispute["id"])


def submission(world: World, dispute: Object) -> Object:
    """What changes when the evidence is handed to the bank."""
    _check(dispute, "needs_response", "warning_needs_response")
    details = dispute["evidence_details"]
    return {
        "status": "under_review" if dispute["status"] == "needs_response" else "warning_under_review",
        "evidence_details": {
            **details,
            "has_evidence": True,
            "past_due": world.now() > details["due_by"],
            "submission_count": details["submission_count"] + 1,
            "submission_method": "manual",
        },
    }


def win(world: World, dispute: Object, *, return_fee: bool = False) -> None:
    """The money comes back; the fee, which Stripe keeps, only if it is told so."""
    _check(dispute, *OPEN)
    dispute["status"] = "won"
    fee = -units(_FEE_UNITS, dispute["currency"]) if return_fee else 0
    _record(world, dispute, dispute["amount"], fee, "dispute_reversal", "Chargeback reversal")
    world.emit("charge.dispute.funds_reinstated", dispute)
    world.emit("charge.dispute.closed", dispute)


def lose(world: World, dispute: Object) -> None:
    _check(dispute, *OPEN)
    dispute["status"] = "lost"
    world.emit("charge.dispute.closed", dispute)


def end_inquiry(world: World, dispute: Object) -> None:
    """Nothing came of it."""
    _check(dispute, *INQUIRY)
    dispute["status"] = "warning_closed"
    world.emit("charge.dispute.closed", dispute)


def lose_due(world: World, named: str) -> None:
    """Who has not answered in time has lost."""
    dispute = world.get("dispute", named)
    if dispute["status"] == "needs_response":
        lose(world, dispute)


def end_inquiry_due(world: World, named: str) -> None:
    dispute = world.get("dispute", named)
    if dispute["status"] in INQUIRY:
        end_inquiry(world, dispute)


def _withdraw(world: World, dispute: Object) -> None:
    fee = units(_FEE_UNITS, dispute["currency"])
    _record(world, dispute, -dispute["amount"], fee, "dispute", "Chargeback withdrawal")


def _record(world: World, dispute: Object, amount: int, fee: int, category: str, about: str) -> None:
    moved = balance_transaction.record(
        world,
        dispute,
        "adjustment",
        amount,
        fee=fee,
        fee_for="Dispute fee",
        category=category,
        description=f"{about} for {dispute['charge']}",
    )
    dispute["balance_transactions"].append(moved)


def _check(dispute: Object, *wanted: str) -> None:
    if dispute["status"] not in wanted:
        allowed = " or ".join(wanted)
        raise Refusal(400, f"This dispute's status is {dispute['status']}; it would have to be {allowed}.")
