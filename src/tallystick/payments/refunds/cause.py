"""What makes money go back: one refund, or one withdrawal for a dispute. Pure."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from tallystick.base.ids import id_for_request
from tallystick.payments.refunds.dispute import Dispute
from tallystick.payments.refunds.refund import Refund


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """`operation` is the one that books it, and names it where it must be booked again."""

    operation: UUID
    amount_minor: int
    refund: str | None = None
    dispute: str | None = None

    @property
    def name(self) -> str | None:
        return self.refund or self.dispute

    def attempt(self, number: int) -> UUID:
        """The operation that books it for the `number`th time, from 0."""
        return id_for_request("clawback", f"{self.operation} {number}") if number else self.operation


def causes_of(refunds: Sequence[Refund], disputes: Sequence[Dispute]) -> list[Cause]:
    """Those whose money has gone, or is on its way, and did not come back."""
    given = [
        Cause(operation=id_for_request("refund", refund.id), refund=refund.id, amount_minor=refund.amount_minor)
        for refund in refunds
        if refund.in_force
    ]
    taken = [
        Cause(
            # The money can be taken again after it had come back.
            operation=id_for_request("dispute", f"{dispute.id} {dispute.withdrawals}"),
            dispute=dispute.id,
            amount_minor=dispute.amount_minor,
        )
        for dispute in disputes
        if dispute.in_force
    ]
    return given + taken
