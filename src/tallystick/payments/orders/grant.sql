-- name: keep!
insert into credit_grant (operation, account, kind, amount, source)
values (:operation, :account, :kind, :amount, :source);

-- name: organization_of$
select id from organization where account = :account;
