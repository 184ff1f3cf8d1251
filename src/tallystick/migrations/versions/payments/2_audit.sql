-- Every act that has to do with billing: who did it, from where, and what it changed. Append-only.
create table audit_event (
    -- First, so that it is known before `seq` is: who waits until all transactions below a certain one are over has all
    -- of the numbers that were given out until then.
    transaction xid8 not null default pg_current_xact_id(),
    seq bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    -- Null for what concerns the whole installation, such as a catalog.
    organization text references organization,
    act text not null check (act <> ''),
    -- Who: a user's id, 'operator:ada', 'stripe', 'clock'.
    done_by text not null check (done_by <> ''),
    -- From where: a network address, 'cli', 'upkeep', a webhook's event.
    origin text not null check (origin <> ''),
    -- What it was done to: an order, a member, a plan.
    subject text not null,
    -- JSON as text: the chain of hashes is over these very characters.
    before text,
    after text
);
create index audit_event_organization on audit_event (organization, seq);
create index audit_event_subject on audit_event (subject, seq);
select make_append_only('audit_event');

-- Blocks of the chain seal these events together with transfers: up to and with `audit_to`, from where the block before
-- it that had one stopped. Null in a block that seals none, such as those of a version that knew of none.
alter table ledger_block
    add column audit_to bigint,
    drop constraint ledger_block_check,
    drop constraint ledger_block_transfers_check,
    add constraint a_block_seals_something check (
        to_seq >= after_seq and (to_seq > after_seq) = (transfers > 0) and (transfers > 0 or audit_to is not null)
    ) not valid;
alter table ledger_block validate constraint a_block_seals_something;
create unique index ledger_block_audit on ledger_block (audit_to) where audit_to is not null;

-- As it is read. The block that vouches for an event is the first that reaches as far; none until it is sealed.
create view audit_log as
select
    event.seq, event.at, event.organization, event.act, event.done_by as by, event.origin, event.subject, event.before,
    event.after, block.number as block, encode(block.hash, 'hex') as block_hash
from audit_event as event
left join lateral (
    select number, hash from ledger_block where audit_to >= event.seq order by audit_to limit 1
) as block on true;

-- The canonical text of the audit events in (p_after_seq, p_to_seq]. Every text stands behind its length in bytes, so
-- that no two logs have one text; `transaction` is not in it, for a restored database counts anew.
create function audit_lines(p_after_seq bigint, p_to_seq bigint, out to_seq bigint, out lines bytea)
language sql stable strict as $$
    select
        max(seq),
        convert_to(
            string_agg(
                concat_ws(
                    '|', 'audit', seq, (extract(epoch from at) * 1000000)::bigint,
                    coalesce(octet_length(convert_to(organization, 'UTF8')) || ':' || organization, '-'),
                    octet_length(convert_to(act, 'UTF8')) || ':' || act,
                    octet_length(convert_to(done_by, 'UTF8')) || ':' || done_by,
                    octet_length(convert_to(origin, 'UTF8')) || ':' || origin,
                    octet_length(convert_to(subject, 'UTF8')) || ':' || subject,
                    coalesce(octet_length(convert_to(before, 'UTF8')) || ':' || before, '-'),
                    coalesce(octet_length(convert_to(after, 'UTF8')) || ':' || after, '-')
                ) || E'\n',
                '' order by seq
            ),
            'UTF8'
        )
    from audit_event
    where seq > p_after_seq and seq <= p_to_seq
$$;
