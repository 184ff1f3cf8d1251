"""What one gateway allows and how long it waits: values only, read from the settings at the edge and passed in."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    body_bytes_max: int = 20_000_000
    body_s: float = 30.0
    choices_max: int = 16
    # Output tokens of a request that names no limit, where neither its key nor its organization has a default.
    max_tokens_default: int = 4096
    # Fewest output tokens worth a call when the balance cannot hold what was asked for.
    clamp_tokens_min: int = 64
    # A model whose documents say nothing is bounded by these.
    context_tokens_max: int = 2_000_000
    output_tokens_max: int = 128_000
    image_tokens_max: int = 16_384
    # A count above this many times what was reserved is not believed (see estimate.bounds).
    usage_factor_max: int = 4

    answer_bytes_max: int = 32_000_000
    event_bytes_max: int = 8_000_000
    # A client that takes none of its stream for this long has left.
    client_write_s: float = 30.0
    drain_s: float = 60.0
    drain_bytes_max: int = 16_000_000
    # How much a crash in mid-stream may leave unrecorded.
    progress_s: float = 5.0
    progress_bytes: int = 65_536

    hold_s: int = 900
    # Until the settlements of calls that a stop has cut are in the ledger, or in the journal.
    settle_s: float = 12.0
    shutdown_s: float = 30.0
    # Where a customer without credits is sent.
    purchase_url: str = "/cockpit/settings/billing"
    own_key_url: str = "/cockpit/settings/models"
