-- The canonical text of the transfers in (p_after_seq, p_to_seq], over which a block of the hash chain is computed.
create function ledger_lines(p_after_seq bigint, p_to_seq bigint, out transfers bigint, out to_seq bigint, out lines bytea)
language sql stable as $$
    select
        count(*), max(seq),
        convert_to(
            string_agg(
                concat_ws(
                    '|', seq, (extract(epoch from at) * 1000000)::bigint, debit, credit, amount, kind, operation
                ) || E'\n',
                '' order by seq
            ),
            'UTF8'
        )
    from transfer
    where seq > p_after_seq and seq <= p_to_seq
$$;
