-- name: receipt^
-- One hold with the usage record that ended it, if it has ended.
select
    hold.id, hold.state, hold.amount as reserved, hold.created_at,
    usage.at, usage.endpoint, usage.alias, usage.provider, usage.model, usage.stream, usage.usage_source,
    usage.outcome, usage.rule, usage.status, usage.attempts, usage.latency_ms, usage.first_byte_ms, usage.price_id,
    usage.charge, usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens,
    usage.reasoning_tokens, usage.input_audio_tokens, usage.output_audio_tokens, usage.images
from hold left join usage_record as usage on usage.id = hold.id
where hold.id = :id and hold.account = :account;
