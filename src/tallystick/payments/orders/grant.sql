-- name: keep!
insert into credit_grant (operation, account, kind, amount, source)
values (:operation, :account, :kind, :amount, :source);
