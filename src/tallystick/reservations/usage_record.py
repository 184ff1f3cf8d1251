"""What one request used, cost and was charged: written once, in the transaction that ends its hold."""

from typing import Final, Literal
from uuid import UUID

import msgspec
from msgspec.structs import force_setattr

_BIGINT_MAX: Final = 2**63 - 1
_INTEGER_MAX: Final = 2**31 - 1
_SMALLINT_MAX: Final = 2**15 - 1
_TEXTS: Final = ("endpoint", "alias", "provider", "model", "outcome", "rule", "api_key", "upstream_id")


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The columns of table usage_record, in their order, except `at`, which the database sets.

    Token counts include their sub-kinds: `input_tokens` has the cached and the cache-write ones in it. Amounts are
    nanocredits. Raises ValueError for what the table cannot hold, before it can spoil a batch.
    """

    id: UUID
    account: int
    api_key: str | None = None
    endpoint: str
    alias: str
    provider: str
    model: str
    stream: bool
    input_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    images: int = 0
    usage_source: Literal["provider", "estimated", "none"]
    cost_id: int | None = None
    price_id: int | None = None
    cost: int
    charge: int
    reserved: int
    outcome: str
    rule: str
    status: int
    upstream_id: str | None = None
    attempts: int
    latency_ms: int
    first_byte_ms: int | None = None

    def __post_init__(self) -> None:
        counts = (
            self.input_tokens,
            self.cached_tokens,
            self.cache_write_tokens,
            self.output_tokens,
            self.reasoning_tokens,
            self.input_audio_tokens,
            self.output_audio_tokens,
            self.images,
            self.cost,
            self.charge,
            self.reserved,
        )
        if min(counts) < 0 or max(counts) > _BIGINT_MAX:
            raise ValueError("a usage record's counts and amounts must be between 0 and 2**63 - 1")
        if not (0 <= self.status <= _SMALLINT_MAX and 0 <= self.attempts <= _SMALLINT_MAX):
            raise ValueError("a usage record's status and attempts must be between 0 and 32767")
        if not (0 <= self.latency_ms <= _INTEGER_MAX and 0 <= (self.first_byte_ms or 0) <= _INTEGER_MAX):
            raise ValueError("a usage record's times must be between 0 and 2**31 - 1 ms")
        for name in _TEXTS:
            text = getattr(self, name)
            if text is not None and not text.isprintable():
                # A model name can come from a stranger: PostgreSQL takes no NUL, UTF-8 no lone surrogate.
                force_setattr(self, name, "".join(c if c.isprintable() else "\ufffd" for c in text))
