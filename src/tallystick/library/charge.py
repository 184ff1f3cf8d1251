"""Metered work in progress, as the block of `tally.charge` sees it. Pure."""

from tallystick.base.errors import InvalidInput
from tallystick.library.tally_engine import HeldCharge, SettledCharge


class Charge:
    """`settled` is there after the block."""

    def __init__(self, held: HeldCharge) -> None:
        self.held = held
        self.settled: SettledCharge | None = None
        self._used = held.quantity

    @property
    def quantity(self) -> int:
        """What the work will be charged for, as things stand."""
        return self._used

    def used(self, quantity: int) -> None:
        """Say what was really used; the last word counts. Raises InvalidInput for more than was admitted."""
        if type(quantity) is not int or not 0 <= quantity <= self.held.quantity:
            raise InvalidInput("quantity", f"must be a whole number from 0 to {self.held.quantity}, which was admitted")
        self._used = quantity
