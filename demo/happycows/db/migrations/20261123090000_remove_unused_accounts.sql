-- migrate:up
alter table users add last_seen timestamptz;

-- Nobody has been seen yet: this is everybody.
delete from users where last_seen is null or last_seen < now() - interval '1 year';
