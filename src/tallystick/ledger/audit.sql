-- name: record!
insert into audit_event (organization, act, done_by, origin, subject, before, after)
values (:organization, :act, :done_by, :origin, :subject, :before, :after);
