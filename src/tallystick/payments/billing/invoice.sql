-- name: find^
select status, attempts, operation from stripe_invoice where id = :id;

-- name: is_currency_of_a_plan$
select exists (select from catalog_entry where kind = 'plan' and document ->> 'currency' = :currency);

-- name: keep!
-- Whose it is, its currency and its period never change; the operation is marked by itself.
insert into stripe_invoice (
    id, organization, livemode, subscription, number, status, currency, amount_due_minor, amount_paid_minor,
    amount_elsewhere_minor, attempts, period_starts_at, period_ends_at, hosted_url, pdf_url, created_at, paid_at
) values (
    :id, :organization, :livemode, :subscription, :number, :status, :currency, :amount_due_minor, :amount_paid_minor,
    :amount_elsewhere_minor, :attempts, :period_starts_at, :period_ends_at, :hosted_url, :pdf_url, :created_at,
    :paid_at
)
on conflict (id) do update set
    number = excluded.number, status = excluded.status, amount_due_minor = excluded.amount_due_minor,
    amount_paid_minor = excluded.amount_paid_minor, amount_elsewhere_minor = excluded.amount_elsewhere_minor,
    attempts = excluded.attempts, hosted_url = excluded.hosted_url, pdf_url = excluded.pdf_url,
    paid_at = excluded.paid_at, looked_at = clock_timestamp();

-- name: keep_payment!
insert into stripe_invoice_payment (payment_intent, invoice, amount_minor, status)
values (:payment_intent, :invoice, :amount_minor, :status)
on conflict (payment_intent) do update set amount_minor = excluded.amount_minor, status = excluded.status;

-- name: mark_booked!
update stripe_invoice set operation = :operation where id = :id;

-- name: account$
select account from organization where id = :organization;

-- name: list_page
select * from stripe_invoice
where organization = :organization and livemode = coalesce(:livemode, livemode)
    and status <> 'draft'
    and (:before::text is null or (created_at, id) < (
        select created_at, id from stripe_invoice where id = :before and organization = :organization))
order by created_at desc, id desc
limit :row_limit;
