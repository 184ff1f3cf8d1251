"""What the caller's constraints document says of one call: may it be made, what it claims, who is charged (pure)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from tallystick.base.errors import Forbidden
from tallystick.base.money import format_amount
from tallystick.catalog.plan import CONCURRENCY, DOLLARS
from tallystick.catalog.price import Usage
from tallystick.constraints.constraints import Constraints
from tallystick.constraints.verdict import Request, Verdict, claims
from tallystick.reservations.claim import AnyClaim, Claim, FeatureClaim

# Nothing of it is ever used up: what is held of it are the requests that run now, in whatever process.
_ALWAYS: Final = (datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC))
COVERED: Final = "plan"
"""In a usage record's rule: the plan pays for models, so that the price book charged nothing."""


class AccessDenied(Forbidden):
    """The customer's subscription, or what it includes, does not allow this call."""

    code = "access_denied"


class Terms(Struct, frozen=True, kw_only=True, gc=False):
    """The part of a call's admission that outlives it: what its hold claims, in order, and who pays for the model."""

    charges_models: bool = True
    claims: tuple[AnyClaim, ...] = ()

    @property
    def meters(self) -> tuple[str, ...]:
        return tuple(claim.meter if isinstance(claim, Claim) else "" for claim in self.claims)

    def limits(self, standing: tuple[int, ...], units: tuple[int, ...] | None) -> list[dict[str, object]]:
        """For the customer: each limit that the call came under, and what is used of it. That is what stood there when
        it was admitted (what other calls held included), with what it really used instead of what it claimed."""
        found: list[dict[str, object]] = []
        for place, claim in enumerate(self.claims):
            name, limit = _named_limit(claim)
            if limit is not None and name != CONCURRENCY:
                used = standing[place] - claim.units
                if units is not None:
                    used += claim.units if isinstance(claim, FeatureClaim) else units[place]
                counts = {"limit": limit, "used": used, "remaining": max(0, limit - used)}
                shown = {key: format_amount(count) for key, count in counts.items()} if name == DOLLARS else counts
                found.append({"name": name, **shown})
        return found


# Of whoever nothing is counted for: by whether the price book is charged.
_PLAIN: Final = {charged: Terms(charges_models=charged) for charged in (True, False)}


def terms_of(
    constraints: Constraints, alias: str, feature: str | None, usage: Usage, amount: int, now: datetime
) -> Terms:
    """Raises AccessDenied. `usage` and `amount` are the most the call can come to."""
    if feature is None and _is_plain(constraints):
        return _PLAIN[constraints.charges_models]
    wanted = claims(
        constraints,
        Request(
            amount=amount,
            units={
                rule.meter: _UNITS[rule.meter](usage, 0)
                for rule in constraints.meters
                if rule.meter in _UNITS and rule.meter != DOLLARS
            },
            features={feature: 1} if feature else {},
            route=alias,
        ),
        now,
    )
    if isinstance(wanted, Verdict):
        raise AccessDenied(
            wanted.message or "There is no access.", details={"limit_source": "access", "name": wanted.name}
        )
    found: list[AnyClaim] = [
        FeatureClaim(feature=use.feature, units=use.units, limit=use.limit) for use in wanted.features
    ]
    for meter in wanted.meters:
        rule = meter.constraint
        found.append(
            Claim(
                meter=rule.meter,
                units=meter.units,
                starts_at=meter.period.starts_at,
                ends_at=meter.period.ends_at,
                allowance=rule.allowance,
                cap=rule.cap,
                price=rule.price,
                per=rule.per,
            )
        )
    if constraints.rates.concurrency is not None:
        starts_at, ends_at = _ALWAYS
        found.append(
            Claim(
                meter=CONCURRENCY,
                units=1,
                starts_at=starts_at,
                ends_at=ends_at,
                allowance=1,
                cap=constraints.rates.concurrency,
            )
        )
    return Terms(charges_models=constraints.charges_models, claims=tuple(found))


def _is_plain(constraints: Constraints) -> bool:
    """Whether there is nothing to decide: most calls are of such customers, and pay for no more than this."""
    return (
        constraints.access
        and not constraints.meters
        and constraints.routes is None
        and constraints.rates.concurrency is None
        and constraints.access_until is None
        and "credits" in constraints.auth_modes
    )


def units_used(meters: tuple[str, ...], usage: Usage, amount: int) -> tuple[int, ...]:
    """What a call really used of each meter that it claimed; `amount` is its charge by the price book."""
    return tuple(_UNITS[meter](usage, amount) if meter in _UNITS else 0 for meter in meters)


def _named_limit(claim: AnyClaim) -> tuple[str, int | None]:
    if isinstance(claim, FeatureClaim):
        return claim.feature, claim.limit
    return claim.meter, (claim.allowance or None) if claim.cap is None else claim.cap


# What a call counts of each meter that a gateway knows; features ("") and concurrency end with nothing used.
_UNITS: Final[Mapping[str, Callable[[Usage, int], int]]] = {
    "requests": lambda _usage, _amount: 1,
    "llm_inferences": lambda usage, _amount: usage.input_tokens + usage.output_tokens,
    "input_tokens": lambda usage, _amount: usage.input_tokens,
    "output_tokens": lambda usage, _amount: usage.output_tokens,
    DOLLARS: lambda _usage, amount: amount,
}
