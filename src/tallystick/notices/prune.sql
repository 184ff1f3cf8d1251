-- name: old_deliveries$
-- Of those that ended; their attempts go with them.
with gone as (
    delete from webhook_delivery where id in (
        select webhook_delivery.id
        from notice join webhook_delivery on webhook_delivery.notice = notice.seq
        where notice.at < statement_timestamp() - :kept::interval
            and webhook_delivery.ended_at < statement_timestamp() - :kept::interval
        limit :most::bigint
        for update of webhook_delivery skip locked
    ) returning 1
)
select count(*) from gone;

-- name: old_notices$
-- One that is still being sent stays.
with gone as (
    delete from notice where seq in (
        select seq from notice
        where at < statement_timestamp() - case when key is null then :kept::interval else :keys_kept::interval end
            and matched and not exists (select from webhook_delivery where webhook_delivery.notice = notice.seq)
        limit :most::bigint
        for update skip locked
    ) returning 1
)
select count(*) from gone;

-- name: empty_old_mails$
-- What a mail said to whom is nobody's business any more; that it was written stays known by its key.
with emptied as (
    update mail set body = '', subject = '', recipient = '-'
    where seq in (
        select seq from mail
        where at < statement_timestamp() - :kept::interval and state <> 'waiting' and body <> '' and key is not null
        limit :most::bigint
        for update skip locked
    ) returning 1
)
select count(*) from emptied;

-- name: old_mails$
-- One that waits is sent first, however late.
with gone as (
    delete from mail where seq in (
        select seq from mail
        where at < statement_timestamp() - case when key is null then :kept::interval else :keys_kept::interval end
            and state <> 'waiting'
        limit :most::bigint
        for update skip locked
    ) returning 1
)
select count(*) from gone;
