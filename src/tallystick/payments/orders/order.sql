-- name: find^
select * from payment_order where id = :id and (:organization::text is null or organization = :organization);

-- name: lock^
select * from payment_order where id = :id for update;

-- name: orders_of
-- Ids are time-ordered, so this is the order in which they were made, and an id is a place in it.
select * from payment_order
where (:organization::text is null or organization = :organization)
    and (:state::text is null or state = :state)
    and (:kind::text is null or kind = :kind)
    and (:before::text is null or id < :before)
order by id desc
limit :row_limit;
