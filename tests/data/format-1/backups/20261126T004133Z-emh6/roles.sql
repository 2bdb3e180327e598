--
-- PostgreSQL database cluster dump
--

\restrict tXA6sgYhtBJ7bDLmFu1KIG2UFj1ZufqUqwzlbeEfKRgl7rErWKYGOrwzZVg9Smx

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:eMynfK1IjOdOU4YoIcskDw==$B8uXcv+8BCxsJmFAM/hR7Xo815di88r6lnabdXXMUcQ=:ffe70Nr5NKRcUgPwZ4K0I3xBnh5K6KQNpNGsxcsiQgU=';

--
-- User Configurations
--






\unrestrict tXA6sgYhtBJ7bDLmFu1KIG2UFj1ZufqUqwzlbeEfKRgl7rErWKYGOrwzZVg9Smx

--
-- PostgreSQL database cluster dump complete
--

