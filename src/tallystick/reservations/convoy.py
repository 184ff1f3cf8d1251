"""The lanes of one process: together while little is in flight, each for itself when there is much.

A batch of few operations costs PostgreSQL nearly what one of twice as many does. So the first lane posts what waits for
any of them, under the locks of all. docs/decisions/0023-few-go-together.md has the figures.
"""

from typing import Final, Protocol

from tallystick.reservations.batch import Batch

# Operations that wait or are under way. From about here on two batches at a time are sooner done than one of both.
FEW: Final = 128


class Member(Protocol):
    """A lane, as the others see it."""

    def can_lead(self) -> bool:
        """Whether it posts at all at present."""

    def wake(self) -> None:
        """Let it look for what to post."""

    def hand_over(self, batch: Batch) -> bool:
        """Let what waits here go with this batch of another lane; False where something is left."""


class Convoy:
    def __init__(self) -> None:
        self._members: list[Member] = []
        # Operations of all members that were not answered yet.
        self.in_flight = 0
        # Whether the first is posting what is of others: they post nothing meanwhile, for one account's operations
        # reach the database in their order.
        self._carrying = False

    def join(self, member: Member) -> None:
        """The first to join leads."""
        self._members.append(member)

    def poster(self, member: Member) -> Member:
        """Who is to post what waits for this member."""
        first = self._members[0]
        return first if self._carrying or (self.in_flight <= FEW and first.can_lead()) else member

    def carries_for(self, member: Member) -> bool:
        """Whether this member has to wait for what is under way."""
        return self._carrying and member is not self._members[0]

    def lead(self, member: Member, batch: Batch) -> None:
        """The member is going to post this batch: if it is the first, for all, or it tells the others to post."""
        if member is not self._members[0]:
            return
        together = self.in_flight <= FEW
        for other in self._members[1:]:
            if not (together and other.hand_over(batch)):
                other.wake()
        self._carrying = batch.joint

    def answered(self, member: Member, batch: Batch) -> None:
        """The member has posted this batch."""
        self.in_flight -= len(batch.places)
        if member is self._members[0]:
            self._carrying = False

    def wake_others(self, member: Member) -> None:
        """This one cannot post for them any more."""
        for other in self._members:
            if other is not member:
                other.wake()
