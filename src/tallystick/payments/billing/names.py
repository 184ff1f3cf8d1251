"""What things of ours are called at Stripe, so that each is found again, and made once. Pure."""


def event_name(meter: str) -> str:
    """The name of the meter events that report usage of `meter`: one billing meter at Stripe for each."""
    return f"tallystick_{meter}"


def product_id(slug: str, meter: str | None = None) -> str:
    """The product that stands for a plan, or for one meter of it, in all of its versions: an invoice names its lines
    after products. No slug has an underscore."""
    product = f"tallystick_plan_{slug}"
    return product if meter is None else f"{product}_{meter}"


def price_key(slug: str, version: int, meter: str | None = None) -> str:
    """The lookup key of the price of one version of a plan, or of one meter in it. Stripe lets one price have it."""
    key = f"tallystick_{slug}_{version}"
    return key if meter is None else f"{key}_{meter}"
