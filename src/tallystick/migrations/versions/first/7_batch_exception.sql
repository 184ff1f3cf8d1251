-- What a batch has to say about one operation that did not simply succeed.
-- step: 'end', 'extend', 'reserve' or 'deduct'; ordinal: its place in that step's arrays, from 1.
-- code: repeated (the stored answer stands), conflict, ended, not_found, no_account or insufficient.
create type batch_exception as (
    step text,
    ordinal integer,
    code text,
    posted bigint,
    held bigint,
    available bigint
);
