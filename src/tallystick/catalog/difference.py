"""What publishing changes, in lines a person can read. Pure.

+ price openai/gpt-4o-mini: markup 1.25
~ route fast: candidates openai/gpt-4o-mini -> openai/gpt-5-mini
- pack starter
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tallystick.base.money import format_amount, from_minor
from tallystick.catalog.coupon_entries import describe_coupon
from tallystick.catalog.document import CostProfile, Coupon, CredentialReference, Document, Pack, Price, Provider, Route
from tallystick.catalog.plan import Feature, Meter, Plan
from tallystick.catalog.plan_description import describe_limits, describe_plan
from tallystick.catalog.price import KINDS, Rates
from tallystick.catalog.rates import TOKEN_KINDS, show_markup, show_rate
from tallystick.catalog.timeline import Change


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that were appended, or would be; `warnings` are sentences about what was published all the same."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()
    now: datetime

    def __bool__(self) -> bool:
        return bool(self.changes)

    def lines(self) -> list[str]:
        return [_line(change, self.now) for change in self.changes]


def describe(document: Document) -> dict[str, str]:
    """The fields of a document as a catalog file writes them, without its name; what is not set is left out."""
    fields: dict[str, str | None]
    match document:
        case Provider(credential=credential):
            fields = {
                "protocol": document.protocol,
                "base_url": document.base_url,
                "credential": _describe_credential(credential) if credential else None,
                "open_models": "true" if document.open_models else None,
                "limit_parameter": document.limit_parameter if document.limit_parameter != "max_tokens" else None,
                "price_list": document.price_list if document.price_list != document.name else None,
            }
        case CostProfile():
            limits = ("context_tokens", "output_tokens_max", "image_tokens_max")
            fields = {**describe_rates(document.rates)}
            fields |= {name: str(value) for name in limits if (value := getattr(document, name)) is not None}
        case Price():
            fields = {**describe_rates(document.rates)} if document.rates else {}
            fields["markup"] = None if document.markup_ppm is None else show_markup(document.markup_ppm)
            fields["allow_loss"] = "true" if document.allow_loss else None
        case Route(candidates=candidates, fallback=fallback, feature=feature):
            fields = {
                "candidates": " then ".join(
                    f"{c.provider}/{c.model} (priority {c.priority}, weight {c.weight})" for c in candidates
                ),
                "fallback": f"attempts_max {fallback.attempts_max} on {', '.join(fallback.on) or 'nothing'}",
                "feature": feature,
            }
        case Pack():
            fields = {
                "name": document.name,
                "amount": f"{format_amount(from_minor(document.amount_minor))} {document.currency}",
                "credits": format_amount(document.credits),
                "description": document.description or None,
                "payment": document.payment if document.payment != "checkout" else None,
            }
        case Coupon():
            fields = describe_coupon(document)
        case Meter():
            fields = {"title": document.title, "unit": document.unit, "aggregation": document.aggregation}
        case Feature():
            fields = {"title": document.title, **describe_limits("limits", document.limits)}
        case Plan():
            fields = describe_plan(document)
    return {name: text for name, text in fields.items() if text is not None}


def describe_rates(rates: Rates) -> dict[str, str]:
    """Dollars per million tokens, per image and per request; tiers as "tiers.200000.input"."""
    written: dict[str, str] = {}
    for kind in KINDS:
        if (value := getattr(rates, kind)) is not None:
            written[kind] = show_rate(value, kind)
    for tier in rates.tiers:
        for kind in TOKEN_KINDS:
            if (value := getattr(tier, kind)) is not None:
                written[f"tiers.{tier.above_input_tokens}.{kind}"] = show_rate(value, kind)
    return written


def _describe_credential(reference: CredentialReference) -> str:
    return f"env {reference.env}" if reference.env else f"sealed {reference.sealed}"


def _line(change: Change, now: datetime) -> str:
    title = f"{change.kind} {change.name}"
    if change.effective_from != now:
        title += f" from {change.effective_from.isoformat().replace('+00:00', 'Z')}"
    if change.after is None:
        return f"- {title}"
    after = describe(change.after)
    if change.before is None:
        return f"+ {title}: {_join([f'{name} {text}' for name, text in after.items()])}"
    before = describe(change.before.document)
    if change.before.source != change.source:
        before, after = before | {"source": change.before.source}, after | {"source": change.source}
    names = sorted(before.keys() | after.keys(), key=lambda name: list(before | after).index(name))
    changed = [
        f"{name} {before.get(name, '(none)')} -> {after.get(name, '(none)')}"
        for name in names
        if before.get(name) != after.get(name)
    ]
    return f"~ {title}: {_join(changed)}"


def _join(texts: Sequence[str]) -> str:
    return ", ".join(texts)
