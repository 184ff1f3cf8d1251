-- name: find_customer^
select organization, looked from stripe_customer where id = :id and livemode = :livemode;
