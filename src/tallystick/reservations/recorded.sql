-- name: recorded^
-- The usage record of one request.
select
    id, at, account, api_key, endpoint, alias, provider, model, stream, input_tokens, cached_tokens,
    cache_write_tokens, output_tokens, reasoning_tokens, input_audio_tokens, output_audio_tokens, images,
    usage_source::text as usage_source, cost_id, price_id, cost, charge, reserved, outcome, rule, status, upstream_id,
    attempts, latency_ms, first_byte_ms
from usage_record
where id = :id
