-- name: keep!
insert into mail (recipient, subject, body, key) values (:recipient, :subject, :body, :key)
on conflict (key) do nothing;
