-- name: take_turn!
-- Two publishers must not both work out their changes from the same state.
select pg_advisory_xact_lock(hashtext('tallystick.catalog'));

-- name: append<!
insert into catalog_entry (kind, name, effective_from, document, retired, source)
values (:kind, :name, :effective_from, :document, :retired, :source)
returning id;

-- name: announce!
select announce('catalog', '');
