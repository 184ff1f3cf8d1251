"""What falls due by itself, done one moment after the other while the clock moves on."""

from collections.abc import Callable, Mapping
from typing import Final

from tallystick.sandbox.stripe import (
    balance_transaction,
    checkout_payment,
    collection,
    dispute_course,
    payout,
    refund_outcome,
    renewal,
)
from tallystick.sandbox.stripe.world import World

# What `World.later` names. Each looks first whether it is still wanted: nothing is ever taken off the agenda.
ACTIONS: Final[Mapping[str, Callable[[World, str], None]]] = {
    "balance_transaction.become_available": balance_transaction.become_available,
    "checkout_session.expire": checkout_payment.expire_due,
    "dispute.end_inquiry": dispute_course.end_inquiry_due,
    "dispute.respond_by": dispute_course.lose_due,
    "invoice.finalize": collection.advance_due,
    "invoice.retry": collection.retry,
    "payment.settle_debit": checkout_payment.settle_due,
    "payout.arrive": payout.arrive_due,
    "refund.failed": refund_outcome.fail_due,
    "refund.succeeded": refund_outcome.succeed_due,
    "subscription.turn": renewal.turn,
}


def advance(world: World, seconds: int) -> None:
    """Moves the clock on. All that falls due on the way happens at its own moment, in the order of time."""
    until = world.now() + seconds
    while taken := world.take_due(until):
        at, what, about = taken
        world.move_to(at)
        ACTIONS[what](world, about)
    world.move_to(until)


def run(world: World) -> bool:
    """Does what has fallen due by now; says whether there was anything."""
    found = False
    while taken := world.take_due(world.now()):
        _, what, about = taken
        ACTIONS[what](world, about)
        found = True
    return found
