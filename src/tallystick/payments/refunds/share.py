"""Which part of an order's credits goes back with a part of its payment. Pure."""

import msgspec


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Nanocredits: what the money is worth, and what had been given on top of it."""

    money: int
    bonus: int

    @property
    def credits(self) -> int:
        return self.money + self.bonus


NOTHING = Share(money=0, bonus=0)


def share_of(whole: Share, paid_minor: int, part_minor: int, *, gone_minor: int = 0, gone: Share = NOTHING) -> Share:
    """The share of `part_minor` of the `paid_minor` that brought `whole`, after `gone` went with `gone_minor`.

    In proportion, rounded down; the last part takes all that is left, so that nothing of a gift outlives its payment.
    """
    if not 0 < part_minor <= paid_minor - gone_minor:
        raise ValueError(f"{part_minor} of {paid_minor} cannot go back, of which {gone_minor} did already")
    if gone_minor + part_minor == paid_minor:
        return Share(money=whole.money - gone.money, bonus=whole.bonus - gone.bonus)
    return Share(money=whole.money * part_minor // paid_minor, bonus=whole.bonus * part_minor // paid_minor)


def part_worth(whole: Share, paid_minor: int, free: int, *, gone_minor: int = 0, gone: Share = NOTHING) -> int:
    """The most that can go back in minor units while its share is covered by `free` nanocredits."""
    left = paid_minor - gone_minor
    if left > 0 and share_of(whole, paid_minor, left, gone_minor=gone_minor, gone=gone).credits <= free:
        return left
    return max(0, min(left - 1, free * paid_minor // whole.credits))
