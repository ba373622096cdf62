"""Statements with the true answer: does it use `users.full_name`, which the contract removes?

Written for this project. `USES` break, or read another thing, without the column. `FREE` do not: what flags one of them
is a false alarm. What nobody can tell is named in `OPAQUE`, with the true answer beside it.
"""

from __future__ import annotations

SCHEMA = """
CREATE TABLE teams (id bigint PRIMARY KEY, name text, full_name text, size int DEFAULT 0);
CREATE TABLE users (
    id bigint PRIMARY KEY, full_name text, email text UNIQUE, first_name text, last_name text, created timestamptz,
    born date, visits int DEFAULT 0, score numeric, data jsonb, tags text[], active boolean DEFAULT true,
    team_id bigint REFERENCES teams);
CREATE TABLE orders (
    id bigint PRIMARY KEY, user_id bigint REFERENCES users, total numeric, placed timestamptz, note text);
CREATE TABLE archive (id bigint PRIMARY KEY, full_name text, email text);
CREATE TABLE log (at timestamptz DEFAULT now(), what jsonb);
CREATE VIEW user_names AS SELECT id, full_name FROM users;
CREATE VIEW user_mails AS SELECT id, email FROM users;
CREATE VIEW user_names_twice AS SELECT n.id, upper(n.full_name) AS shout FROM user_names n;
CREATE VIEW user_documents AS SELECT u.id, to_jsonb(u) AS document FROM users u;
CREATE VIEW team_names AS SELECT id, full_name FROM teams;
CREATE MATERIALIZED VIEW user_count AS SELECT count(*) AS n FROM users;
CREATE FUNCTION name_of(bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT full_name FROM users WHERE id = $1';
CREATE FUNCTION mail_of(bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM users WHERE id = $1';
CREATE FUNCTION shout_of(who bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT upper(name_of(who))';
CREATE FUNCTION name_atomic(who bigint) RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT full_name FROM users WHERE id = who; END;
CREATE FUNCTION mail_atomic(who bigint) RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT email FROM users WHERE id = who; END;
CREATE FUNCTION document_atomic(who bigint) RETURNS jsonb LANGUAGE sql STABLE
    BEGIN ATOMIC SELECT to_jsonb(u) FROM users u WHERE u.id = who; END;
CREATE FUNCTION name_plpgsql(who bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
    DECLARE found text; BEGIN SELECT full_name INTO found FROM users WHERE id = who; RETURN found; END $$;
CREATE FUNCTION team_plpgsql(who bigint) RETURNS text LANGUAGE plpgsql STABLE AS $$
    BEGIN RETURN (SELECT full_name FROM teams WHERE id = who); END $$;
CREATE FUNCTION row_plpgsql(who bigint) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
    DECLARE r record; BEGIN SELECT * INTO r FROM users WHERE id = who; RETURN to_jsonb(r); END $$;
CREATE FUNCTION built_plpgsql(what text) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE n bigint; BEGIN EXECUTE 'SELECT count(' || quote_ident(what) || ') FROM ' || 'us' || 'ers' INTO n; RETURN n; END $$;
CREATE FUNCTION sum_plpgsql(a int, b int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN a + b; END $$;
CREATE FUNCTION everybody() RETURNS SETOF users LANGUAGE sql STABLE AS 'SELECT * FROM users';
CREATE FUNCTION label(users) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.email';
CREATE PROCEDURE tidy() LANGUAGE sql AS 'DELETE FROM log';
CREATE PROCEDURE rename_all() LANGUAGE sql AS 'UPDATE users SET full_name = trim(full_name)';
"""

USES = """
LOCK TABLE users IN SHARE MODE
CREATE TEMPORARY VIEW mine AS SELECT * FROM users
SELECT EXISTS (SELECT full_name FROM users WHERE id = $1)
SELECT EXISTS (SELECT * FROM users WHERE full_name = $1)
SELECT EXISTS (SELECT * FROM users INTERSECT SELECT * FROM users WHERE id = $1)
SELECT EXISTS (SELECT 1 FROM users u WHERE to_jsonb(u) @> $1)
INSERT INTO archive (id, full_name) SELECT id, email FROM archive a WHERE NOT EXISTS (SELECT * FROM users u WHERE u.full_name = a.full_name)
SELECT * FROM users
SELECT u.* FROM users u WHERE u.id = $1
SELECT full_name FROM users
SELECT users.full_name FROM users WHERE id = $1
SELECT public.users.full_name FROM public.users
SELECT u.full_name AS name FROM users AS u
SELECT "full_name" FROM "users"
SELECT id FROM users WHERE full_name = $1
SELECT id FROM users WHERE full_name IS NULL
SELECT id FROM users WHERE full_name ILIKE $1 OR email ILIKE $1
SELECT id FROM users WHERE lower(full_name) = lower($1)
SELECT id FROM users WHERE full_name IN ($1, $2, $3)
SELECT id FROM users WHERE full_name = ANY($1)
SELECT id FROM users ORDER BY full_name
SELECT id, email FROM users ORDER BY coalesce(full_name, email) LIMIT 10
SELECT count(full_name) FROM users
SELECT count(DISTINCT full_name) FROM users
SELECT full_name, count(*) FROM users GROUP BY full_name
SELECT count(*) FROM users GROUP BY full_name
SELECT email FROM users GROUP BY email HAVING max(full_name) > $1
SELECT max(visits) FILTER (WHERE full_name <> '') FROM users
SELECT string_agg(full_name, ',' ORDER BY id) FROM users
SELECT string_agg(email, ',' ORDER BY full_name) FROM users
SELECT array_agg(full_name) FROM users
SELECT DISTINCT ON (full_name) id FROM users ORDER BY full_name, id
SELECT DISTINCT full_name FROM users
SELECT row_number() OVER (PARTITION BY full_name ORDER BY id) FROM users
SELECT id, rank() OVER w FROM users WINDOW w AS (ORDER BY full_name DESC)
SELECT lag(full_name) OVER (ORDER BY id) FROM users
SELECT o.id, u.full_name FROM orders o JOIN users u ON u.id = o.user_id
SELECT o.id FROM orders o JOIN users u ON u.id = o.user_id AND u.full_name = o.note
SELECT o.* FROM orders o JOIN users u ON u.id = o.user_id WHERE u.full_name LIKE 'A%'
SELECT * FROM orders o JOIN users u ON u.id = o.user_id
SELECT * FROM orders LEFT JOIN users ON users.id = orders.user_id WHERE orders.id = $1
SELECT u.*, o.total FROM users u, orders o WHERE o.user_id = u.id
SELECT a.id FROM users a NATURAL JOIN archive b
SELECT id FROM users JOIN archive USING (id, full_name)
SELECT x.full_name FROM (SELECT id, full_name FROM users) x
SELECT x.name FROM (SELECT full_name AS name FROM users) x
SELECT * FROM (SELECT * FROM users) x
SELECT x.full_name FROM (SELECT * FROM users) x
WITH x AS (SELECT full_name FROM users) SELECT * FROM x
WITH x AS (SELECT * FROM users WHERE active) SELECT full_name FROM x
WITH x AS MATERIALIZED (SELECT * FROM users) SELECT * FROM x WHERE id = $1
WITH RECURSIVE t(n, label) AS (SELECT id, full_name FROM users WHERE id = 1 UNION ALL SELECT n + 1, label FROM t WHERE n < 5) SELECT * FROM t
SELECT full_name FROM users UNION SELECT full_name FROM archive
SELECT email FROM users UNION ALL SELECT full_name FROM users
SELECT full_name FROM users INTERSECT SELECT full_name FROM archive
SELECT id FROM users EXCEPT SELECT id FROM users WHERE full_name = ''
SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM users u WHERE u.id = o.user_id AND u.full_name = $1)
SELECT id, (SELECT full_name FROM users u WHERE u.id = o.user_id) FROM orders o
SELECT id FROM orders WHERE note IN (SELECT full_name FROM users)
SELECT o.id, l.full_name FROM orders o, LATERAL (SELECT u.full_name FROM users u WHERE u.id = o.user_id) l
SELECT o.id FROM orders o CROSS JOIN LATERAL (SELECT 1 FROM users u WHERE u.full_name = o.note LIMIT 1) l
SELECT CASE WHEN full_name = '' THEN 'nobody' ELSE 'somebody' END FROM users
SELECT coalesce(full_name, $1) FROM users
SELECT full_name || ' <' || email || '>' FROM users
SELECT concat_ws(' ', full_name, email) FROM users
SELECT split_part(full_name, ' ', 1) FROM users WHERE id = $1
SELECT full_name::varchar(20) FROM users
SELECT full_name COLLATE "C" FROM users
SELECT substring(full_name FROM 1 FOR 3) FROM users
SELECT regexp_replace(full_name, '\\s+', ' ', 'g') FROM users
SELECT length(full_name) > 10 FROM users
SELECT (u).full_name FROM users u
SELECT (u.*).full_name FROM users u
SELECT (SELECT u FROM users u WHERE id = 1).full_name
SELECT u FROM users u
SELECT users FROM users
SELECT to_jsonb(u) FROM users u
SELECT u.id, to_jsonb(u) FROM users u
SELECT u.id, u.email, row_to_json(u) FROM users u WHERE u.id = $1
SELECT to_json(u.*) FROM users u
SELECT json_agg(u) FROM users u
SELECT json_agg(u ORDER BY u.id) FROM users u
SELECT json_agg(x) FROM (SELECT * FROM users) x
SELECT jsonb_agg(to_jsonb(u) - 'id') FROM users u
SELECT json_build_object('name', full_name) FROM users
SELECT jsonb_build_object('id', u.id, 'all', to_jsonb(u)) FROM users u
SELECT o.id, to_jsonb(u) FROM orders o JOIN users u ON u.id = o.user_id
SELECT to_jsonb(j) FROM (orders o JOIN users u ON u.id = o.user_id) j
SELECT row_to_json(x) FROM (SELECT id, full_name FROM users) x
SELECT array_agg(u) FROM users u
SELECT count(u) FROM users u WHERE u IS NOT NULL
SELECT ROW(u.*) FROM users u
SELECT ROW(u.id, u.full_name) FROM users u
SELECT count(DISTINCT u.*) FROM users u
SELECT id FROM users u WHERE u = $1
SELECT id FROM users u WHERE (u.full_name, u.email) = ($1, $2)
SELECT hashtext(u::text) FROM users u
SELECT md5(u::text), u.id FROM users u
SELECT max(u::text) FROM users u GROUP BY u.team_id
SELECT a.id FROM users a JOIN users b ON a IS DISTINCT FROM b AND a.id = b.id
SELECT (json_populate_record(NULL::users, $1)).id
SELECT NULL::users
SELECT id FROM users WHERE full_name = $1 FOR UPDATE
SELECT * FROM users WHERE id = $1 FOR UPDATE SKIP LOCKED
SELECT * FROM ONLY users
SELECT * FROM users TABLESAMPLE SYSTEM (10)
TABLE users
VALUES ((SELECT full_name FROM users WHERE id = 1))
SELECT * FROM user_names
SELECT id FROM user_names
SELECT shout FROM user_names_twice
SELECT document FROM user_documents WHERE id = $1
SELECT document->>'full_name' FROM user_documents
SELECT o.id FROM orders o JOIN user_names n ON n.id = o.user_id
WITH n AS (SELECT * FROM user_names) SELECT count(*) FROM n
SELECT name_of(1)
SELECT id, name_of(user_id) FROM orders
SELECT shout_of($1)
SELECT name_atomic($1)
SELECT document_atomic($1)
SELECT name_plpgsql($1)
SELECT id FROM orders WHERE name_of(user_id) = $1
SELECT * FROM everybody()
SELECT id FROM everybody()
SELECT label(u) FROM users u
SELECT u.label FROM users u
INSERT INTO users VALUES ($1, $2)
INSERT INTO users VALUES (1, 'a', 'b', 'c')
INSERT INTO users (id, full_name) VALUES ($1, $2)
INSERT INTO users (id, full_name, email) SELECT id, full_name, email FROM archive
INSERT INTO users SELECT * FROM users WHERE false
INSERT INTO users (id, email) VALUES ($1, $2) RETURNING *
INSERT INTO users (id, email) VALUES ($1, $2) RETURNING id, full_name
INSERT INTO users (id, email) VALUES ($1, $2) RETURNING users
INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET full_name = excluded.full_name
INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET email = excluded.full_name
INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET email = excluded.email WHERE users.full_name IS NULL
INSERT INTO users (id, full_name) VALUES (1, DEFAULT) ON CONFLICT DO NOTHING
INSERT INTO archive (id, full_name) SELECT id, full_name FROM users
INSERT INTO archive SELECT id, full_name, email FROM users WHERE id = $1
INSERT INTO log (what) SELECT to_jsonb(u) FROM users u WHERE u.id = $1
INSERT INTO log (what) SELECT jsonb_build_object('id', u.id, 'row', to_jsonb(u)) FROM users u
UPDATE users SET full_name = $1 WHERE id = $2
UPDATE users SET full_name = upper(full_name)
UPDATE users SET full_name = DEFAULT WHERE id = $1
UPDATE users SET (full_name, email) = ($1, $2) WHERE id = $3
UPDATE users SET (full_name, email) = (SELECT full_name, email FROM archive a WHERE a.id = users.id)
UPDATE users SET email = full_name || '@example.org'
UPDATE users SET visits = visits + 1 WHERE full_name = $1
UPDATE users SET visits = visits + 1 WHERE id = $1 RETURNING *
UPDATE users u SET visits = 0 WHERE id = $1 RETURNING u.full_name
UPDATE users u SET visits = 0 WHERE id = $1 RETURNING to_jsonb(u)
UPDATE orders o SET note = u.full_name FROM users u WHERE u.id = o.user_id
UPDATE orders o SET note = '' FROM users u WHERE u.id = o.user_id AND u.full_name = ''
UPDATE teams SET full_name = (SELECT full_name FROM users WHERE id = $1)
DELETE FROM users WHERE full_name = $1
DELETE FROM users WHERE id = $1 RETURNING *
DELETE FROM orders o USING users u WHERE u.id = o.user_id AND u.full_name IS NULL
WITH gone AS (DELETE FROM users WHERE id = $1 RETURNING *) INSERT INTO archive SELECT id, full_name, email FROM gone
WITH gone AS (DELETE FROM users WHERE id = $1 RETURNING full_name) SELECT * FROM gone
WITH new AS (INSERT INTO users (id, full_name) VALUES ($1, $2) RETURNING id) SELECT id FROM new
MERGE INTO users u USING archive a ON u.id = a.id WHEN MATCHED THEN UPDATE SET full_name = a.full_name
MERGE INTO users u USING archive a ON u.id = a.id WHEN NOT MATCHED THEN INSERT (id, full_name) VALUES (a.id, a.full_name)
MERGE INTO users u USING archive a ON u.id = a.id WHEN MATCHED AND u.full_name IS NULL THEN DELETE
MERGE INTO archive a USING users u ON u.id = a.id WHEN MATCHED THEN UPDATE SET full_name = u.full_name
COPY users FROM STDIN
COPY users TO STDOUT
COPY users (id, full_name) FROM STDIN WITH (FORMAT csv)
COPY (SELECT full_name FROM users) TO STDOUT
COPY (SELECT * FROM users) TO STDOUT
COPY public.users TO STDOUT
DECLARE c CURSOR FOR SELECT full_name FROM users
DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM users ORDER BY id
PREPARE p (bigint) AS SELECT full_name FROM users WHERE id = $1
EXPLAIN SELECT full_name FROM users
EXPLAIN (ANALYZE, FORMAT json) UPDATE users SET full_name = ''
CREATE TEMPORARY TABLE t AS SELECT * FROM users
SELECT * INTO TEMPORARY t FROM users
ANALYZE users (full_name)
CALL rename_all()
DO $$ BEGIN UPDATE users SET full_name = trim(full_name); END $$
SELECT full_name /* , id */ FROM users -- nothing
select FULL_NAME from USERS
SELECT full_name FROM users WHERE created > now() - interval $1
SELECT full_name FROM users WHERE born = date $1
SELECT extract($1 FROM created), full_name FROM users
SELECT full_name FROM users WHERE id IN ($1 /*, ... */) LIMIT $2 OFFSET $3
SELECT full_name FROM users WHERE created BETWEEN timestamp $1 AND timestamp $2
"""

FREE = """
REFRESH MATERIALIZED VIEW user_count
CREATE TEMPORARY VIEW mine AS SELECT id FROM users
SELECT o.id FROM orders o WHERE NOT EXISTS (SELECT * FROM users u WHERE u.id = o.user_id AND u.active)
SELECT EXISTS (SELECT * FROM users WHERE email = $1)
SELECT id FROM orders o WHERE EXISTS (SELECT u FROM users u WHERE u.id = o.user_id)
SELECT 1
SELECT now()
SELECT id FROM users
SELECT id, email, first_name, last_name FROM users WHERE id = $1
SELECT count(*) FROM users
SELECT count(1) FROM users WHERE active
SELECT EXISTS (SELECT 1 FROM users WHERE email = $1)
SELECT EXISTS (SELECT 1 FROM users)
SELECT concat_ws(' ', first_name, last_name) AS full_name FROM users
SELECT 'full_name' FROM users
SELECT email AS full_name FROM users ORDER BY full_name
SELECT first_name AS full_name FROM users WHERE id = $1
SELECT full_name.id FROM users AS full_name
SELECT id FROM users WHERE email = 'full_name'
SELECT id FROM users -- full_name
SELECT id /* full_name, * */ FROM users
SELECT full_name FROM teams
SELECT t.full_name FROM teams t JOIN users u ON u.team_id = t.id
SELECT full_name FROM teams JOIN (SELECT id AS uid, team_id FROM users) u ON u.team_id = teams.id
SELECT * FROM teams
SELECT t.* FROM teams t JOIN users u ON u.team_id = t.id
SELECT t.*, u.email FROM users u LEFT JOIN teams t ON t.id = u.team_id
SELECT to_jsonb(t) FROM teams t JOIN users u ON u.team_id = t.id
SELECT t, u.id FROM teams t JOIN users u ON u.team_id = t.id
SELECT * FROM archive WHERE full_name = $1
SELECT * FROM orders
SELECT o.*, u.email FROM orders o JOIN users u ON u.id = o.user_id
WITH users AS (SELECT id, name AS full_name FROM teams) SELECT full_name FROM users
WITH x AS (SELECT id, email FROM users) SELECT * FROM x
WITH x (id, full_name) AS (SELECT id, email FROM users) SELECT full_name FROM x
SELECT * FROM (SELECT id, email FROM users) x
SELECT x.full_name FROM (SELECT first_name || last_name AS full_name FROM users) x
SELECT to_jsonb(x) FROM (SELECT id, email FROM users) x
SELECT json_agg(x) FROM (SELECT u.id, u.email FROM users u WHERE u.team_id = $1) x
SELECT json_build_object('full_name', first_name) FROM users
SELECT data->>'full_name' FROM users
SELECT data->'full_name'->0 FROM users WHERE data @> $1
SELECT data->$1->$2 FROM users
SELECT id FROM users WHERE tags @> ARRAY['full_name']
SELECT unnest(tags) FROM users WHERE id = $1
SELECT email, count(*) FROM users GROUP BY email HAVING count(*) > 1
SELECT team_id, avg(score), sum(visits) FROM users GROUP BY 1 ORDER BY 2 DESC
SELECT row_number() OVER (PARTITION BY team_id ORDER BY created) FROM users
SELECT DISTINCT email FROM users
SELECT DISTINCT ON (email) id FROM users ORDER BY email, id
SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE total > $1)
SELECT o.id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.id = o.user_id AND u.active)
SELECT l.email FROM orders o, LATERAL (SELECT u.email FROM users u WHERE u.id = o.user_id) l
SELECT id FROM users UNION SELECT id FROM archive
SELECT id FROM users WHERE (first_name, last_name) = ($1, $2)
SELECT (u).email FROM users u
SELECT ROW(u.id, u.email) FROM users u
SELECT u.ctid, u.xmin FROM users u WHERE u.id = $1
SELECT users.tableoid::regclass FROM users
SELECT id FROM users WHERE id = $1 FOR UPDATE
SELECT id FROM users ORDER BY id LIMIT $1 OFFSET $2
SELECT id FROM users FETCH FIRST 10 ROWS ONLY
SELECT id FROM users TABLESAMPLE BERNOULLI (1)
SELECT * FROM user_mails
SELECT email FROM user_mails WHERE id = $1
SELECT to_jsonb(m) FROM user_mails m
SELECT * FROM team_names
SELECT full_name FROM team_names
SELECT * FROM user_count
SELECT mail_of($1)
SELECT mail_atomic($1)
SELECT team_plpgsql($1)
SELECT sum_plpgsql($1, $2)
SELECT id, mail_of(user_id) FROM orders
SELECT coalesce(visits, 0) + 1 FROM users
SELECT round(score, 2) FROM users
SELECT round(score / $1, $2) FROM users
SELECT CASE WHEN active THEN 'yes' ELSE 'no' END FROM users
SELECT date_trunc('day', created), count(*) FROM users GROUP BY 1
SELECT extract(year FROM created) FROM users
SELECT extract($1 FROM created) FROM users
SELECT id FROM users WHERE created > now() - interval '1 day'
SELECT id FROM users WHERE created > now() - interval $1
SELECT id FROM users WHERE created > timestamp $1 AND born = date $2
SELECT id FROM users WHERE id IN ($1 /*, ... */) LIMIT $2
SELECT id FROM users WHERE id = ANY($1::bigint[])
SELECT $1 FROM users WHERE id BETWEEN $2 AND $3
SELECT $1::text, $2::int
SELECT id FROM users WHERE email SIMILAR TO $1 ESCAPE $2
SELECT position($1 IN email), overlay(email PLACING $2 FROM $3), trim(both $4 FROM email) FROM users
SELECT substring(email FROM $1 FOR $2) FROM users
SELECT created AT TIME ZONE $1 FROM users
INSERT INTO users (id, email) VALUES ($1, $2)
INSERT INTO users (id, email, first_name, last_name) VALUES ($1, $2, $3, $4) RETURNING id
INSERT INTO users (id, email) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING
INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET email = excluded.email
INSERT INTO users (id, email) VALUES ($1, $2) ON CONFLICT (email) DO UPDATE SET visits = users.visits + 1 RETURNING visits
INSERT INTO users (id, email) SELECT id, email FROM archive
INSERT INTO users (id) SELECT max(id) + 1 FROM users
INSERT INTO users DEFAULT VALUES
INSERT INTO teams (id, full_name) VALUES ($1, $2)
INSERT INTO teams VALUES ($1, $2, $3)
INSERT INTO archive (id, full_name) SELECT id, email FROM users
INSERT INTO log (what) VALUES (jsonb_build_object('full_name', $1::text))
UPDATE users SET email = $1 WHERE id = $2
UPDATE users SET visits = visits + 1 WHERE id = $1 RETURNING visits
UPDATE users SET data = jsonb_set(data, '{full_name}', to_jsonb($1::text)) WHERE id = $2
UPDATE users SET first_name = $1, last_name = $2 WHERE id = $3
UPDATE teams SET full_name = $1 WHERE id = $2
UPDATE teams t SET full_name = t.name FROM users u WHERE u.team_id = t.id
UPDATE orders o SET note = u.email FROM users u WHERE u.id = o.user_id
DELETE FROM users WHERE id = $1
DELETE FROM users WHERE email = $1 RETURNING id
DELETE FROM archive WHERE full_name = $1
DELETE FROM orders USING users u WHERE u.id = orders.user_id AND NOT u.active
WITH gone AS (DELETE FROM archive WHERE id = $1 RETURNING *) SELECT full_name FROM gone
MERGE INTO users u USING archive a ON u.id = a.id WHEN MATCHED THEN UPDATE SET email = a.email WHEN NOT MATCHED THEN INSERT (id, email) VALUES (a.id, a.email)
MERGE INTO archive a USING users u ON u.id = a.id WHEN MATCHED THEN UPDATE SET email = u.email
MERGE INTO teams t USING archive a ON t.id = a.id WHEN MATCHED THEN UPDATE SET full_name = a.full_name
COPY users (id, email) FROM STDIN
COPY teams FROM STDIN
COPY (SELECT id, email FROM users) TO STDOUT
DECLARE c CURSOR FOR SELECT id FROM users
FETCH 100 FROM c
CLOSE c
BEGIN
START TRANSACTION ISOLATION LEVEL SERIALIZABLE
COMMIT
ROLLBACK TO SAVEPOINT a
SAVEPOINT a
RELEASE SAVEPOINT a
SET application_name = $1
SET TIME ZONE 'UTC'
SHOW server_version
DISCARD ALL
DEALLOCATE ALL
LISTEN full_name
NOTIFY full_name
EXPLAIN SELECT id FROM users
PREPARE p (bigint) AS SELECT email FROM users WHERE id = $1
CREATE TEMPORARY TABLE t AS SELECT id, email FROM users
TRUNCATE users CASCADE
ANALYZE users
VACUUM
ANALYZE users (email)
CALL tidy()
DO $$ BEGIN DELETE FROM log; END $$
SELECT pg_advisory_xact_lock($1)
SELECT * FROM generate_series(1, 3) AS full_name
SELECT relname FROM pg_catalog.pg_class WHERE relname = $1
CREATE INDEX ON users (email)
"""

ALARMS = """
SELECT id FROM (SELECT * FROM users) x
WITH x AS (SELECT * FROM users) SELECT count(*) FROM x
SELECT id FROM users WHERE id IN (SELECT id FROM (SELECT * FROM users) x)
"""
"""True answer: does not use it; flagged all the same, because an inner `*` names every column."""

OPAQUE = """
SELECT query_to_xml($1, true, false, $2)
SELECT table_to_xml($1, true, false, $2)
SELECT word FROM ts_stat($1)
SELECT row_plpgsql($1)
SELECT built_plpgsql($1)
EXECUTE p(1)
SELECT something FROM nowhere
SELECT FROM WHERE
CREATE INDEX ON users (full_name)
SELECT id FROM t
"""
"""Nobody can tell from the text alone."""


def listed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
