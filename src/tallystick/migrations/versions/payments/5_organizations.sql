-- What a key may do beside calling the gateway, and who made it: a user's id or 'operator:NAME'; null where that was not
-- kept yet.
alter table api_key
    add column scopes text[] not null default '{}',
    add column created_by text,
    add constraint known_scopes check (scopes <@ array['billing']);
