"""One entry of a catalog file to its document, with the checks that a type cannot make. Pure.

Each function takes the table and `where`, the beginning of every sentence about it ("price openai/gpt-4o").
"""

import re
from decimal import Decimal
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from tallystick.base.errors import InvalidAmount
from tallystick.base.money import format_amount, parse_amount, to_minor
from tallystick.catalog.document import (
    ANY,
    CostProfile,
    CredentialReference,
    FallbackPolicy,
    LimitParameter,
    Pack,
    Price,
    Provider,
    Route,
    RouteCandidate,
)
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.price import KINDS
from tallystick.catalog.rates import read_markup, read_rates
from tallystick.catalog.tables import (
    CostProfileTable,
    CredentialTable,
    PackTable,
    PriceTable,
    ProviderTable,
    RouteTable,
)

_PROVIDER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# Model names and aliases travel in headers, URLs and log lines: printable ASCII without spaces or quotes.
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9@~][A-Za-z0-9._:/@~+-]{0,199}")
SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# A credit is one unit of it, whatever is sold: the sum of two currencies would be a balance of neither.
CURRENCY: Final = "usd"
TOKENS_MAX: Final = 10**9


def read_provider(table: ProviderTable, where: str) -> Provider:
    _match(_PROVIDER_NAME, table.name, where, "name", "lower-case letters, digits, '.', '_' and '-'")
    return Provider(
        name=table.name,
        protocol=table.protocol,
        base_url=_base_url(table.base_url, table.allow_http, where),
        credential=None if table.credential is None else _credential(table.credential, where),
        open_models=table.open_models,
        price_list=table.price_list or table.name,
        limit_parameter=table.limit_parameter or _limit_parameter(table.base_url),
    )


def _limit_parameter(base_url: str) -> LimitParameter:
    # OpenAI's reasoning models refuse the older name; most who copied its protocol know only that one.
    return "max_completion_tokens" if urlsplit(base_url).hostname == "api.openai.com" else "max_tokens"


def read_cost_profile(table: CostProfileTable, where: str) -> CostProfile:
    _match(_PROVIDER_NAME, table.provider, where, "provider", "a provider's name")
    _match(_MODEL_NAME, table.model, where, "model", "a model's name as the provider writes it")
    for field in ("context_tokens", "output_tokens_max", "image_tokens_max"):
        tokens = getattr(table, field)
        if tokens is not None and not 0 < tokens <= TOKENS_MAX:
            raise CatalogError([f"{where}: {field} must be between 1 and {TOKENS_MAX}"])
    return CostProfile(
        provider=table.provider,
        model=table.model,
        rates=read_rates(table, where),
        context_tokens=table.context_tokens,
        output_tokens_max=table.output_tokens_max,
        image_tokens_max=table.image_tokens_max,
    )


def read_price(table: PriceTable, where: str) -> Price:
    if table.provider != ANY:
        _match(_PROVIDER_NAME, table.provider, where, "provider", "a provider's name or '*'")
    if table.model != ANY:
        _match(_MODEL_NAME, table.model, where, "model", "a model's name or '*'")
    if table.provider == ANY and table.model != ANY:
        raise CatalogError([f"{where}: provider '*' goes with model '*' only"])
    has_rates = bool(table.tiers) or any(getattr(table, kind) is not None for kind in KINDS)
    if has_rates == (table.markup is not None):
        raise CatalogError([f"{where}: needs either a markup or rates of its own"])
    if has_rates and ANY in (table.provider, table.model):
        raise CatalogError([f"{where}: a price for many models can only be a markup"])
    return Price(
        provider=table.provider,
        model=table.model,
        markup_ppm=None if table.markup is None else read_markup(table.markup, where),
        rates=read_rates(table, where) if has_rates else None,
        allow_loss=table.allow_loss,
    )


def read_route(table: RouteTable, where: str) -> Route:
    _match(_MODEL_NAME, table.alias, where, "alias", "letters, digits and ._:/@~+-")
    if not table.candidates:
        raise CatalogError([f"{where}: candidates must name at least one model"])
    targets = [(candidate.provider, candidate.model) for candidate in table.candidates]
    for provider, model in targets:
        _match(_PROVIDER_NAME, provider, where, "candidates: provider", "a provider's name")
        _match(_MODEL_NAME, model, where, "candidates: model", "a model's name as the provider writes it")
        if targets.count((provider, model)) > 1:
            raise CatalogError([f"{where}: candidates names {provider}/{model} twice"])
    for candidate in table.candidates:
        if not (0 <= candidate.priority <= 1000 and 1 <= candidate.weight <= 1_000_000):
            raise CatalogError([f"{where}: candidates: priority is 0 to 1000 and weight 1 to 1000000"])
    if not 1 <= table.fallback.attempts_max <= 10:
        raise CatalogError([f"{where}: fallback: attempts_max is 1 to 10"])
    written = (
        RouteCandidate(provider=c.provider, model=c.model, priority=c.priority, weight=c.weight)
        for c in table.candidates
    )
    return Route(
        alias=table.alias,
        candidates=tuple(sorted(written, key=lambda candidate: candidate.priority)),
        fallback=FallbackPolicy(attempts_max=table.fallback.attempts_max, on=tuple(table.fallback.on)),
        feature=table.feature,
    )


def read_pack(table: PackTable, where: str) -> Pack:
    _match(SLUG, table.slug, where, "slug", "lower-case letters, digits and '-'")
    if not table.name.strip():
        raise CatalogError([f"{where}: name must not be empty"])
    if (foreign := other_currency(table.currency)) is not None:
        raise CatalogError([f"{where}: {foreign}"])
    amount = _amount(table.amount, where, "amount")
    try:
        amount_minor = to_minor(amount)
    except InvalidAmount as error:
        raise CatalogError([f"{where}: {error.message}"]) from error
    return Pack(
        slug=table.slug,
        name=table.name,
        amount_minor=amount_minor,
        currency=CURRENCY,
        credits=_credits(table, amount, where),
        description=table.description,
        payment=table.payment,
    )


def other_currency(written: str) -> str | None:
    """Why nothing can be sold in this currency, and what to do; None where it can."""
    if written.lower() == CURRENCY:
        return None
    return f"currency is {written}, and the books are in {CURRENCY} alone: give the price in it and leave currency out"


def _credits(table: PackTable, paid: int, where: str) -> int:
    given = paid if table.credits is None else _amount(table.credits, where, "credits")
    # What a customer paid and did not get would be nobody's: neither theirs to spend nor earned by us.
    if given < paid:
        raise CatalogError([f"{where}: credits must not be fewer than the amount, {format_amount(paid)}, pays for"])
    return given


def _amount(value: Decimal, where: str, field: str) -> int:
    try:
        return parse_amount(value, field)
    except InvalidAmount as error:
        raise CatalogError([f"{where}: {error.message}"]) from error


def _credential(table: CredentialTable, where: str) -> CredentialReference:
    if (table.env is None) == (table.sealed is None):
        raise CatalogError([f"{where}: credential needs either env or sealed"])
    if table.env is not None:
        # Whoever pastes the key itself here would publish it; a key rarely looks like a variable's name.
        _match(_ENVIRONMENT_NAME, table.env, where, "credential: env", "the name of an environment variable")
    if table.sealed is not None:
        _match(_PROVIDER_NAME, table.sealed, where, "credential: sealed", "the name of a stored credential")
    return CredentialReference(env=table.env, sealed=table.sealed)


def _base_url(text: str, allow_http: bool, where: str) -> str:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise CatalogError([f"{where}: base_url is not a URL"]) from error
    if url.scheme not in ("http", "https") or not host or not text.isascii() or any(c.isspace() for c in text):
        raise CatalogError([f"{where}: base_url must be an http or https URL"])
    if url.username is not None or url.password is not None or "?" in text or "#" in text:
        raise CatalogError([f"{where}: base_url must not hold a user, a query or a fragment"])
    if url.scheme == "http" and not (allow_http or _is_loopback(host)):
        raise CatalogError([f"{where}: base_url must be https; for a trusted network set allow_http = true"])
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _match(pattern: re.Pattern[str], text: str, where: str, field: str, expected: str) -> None:
    if not pattern.fullmatch(text):
        raise CatalogError([f"{where}: {field} must be {expected}"])
