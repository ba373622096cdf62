"""The split of a name, written by hand: what the audit is tried on, so that it is proven apart from any planner."""

from __future__ import annotations

FIRST = "split_part({row}full_name, ' ', 1)"
LAST = "substr({row}full_name, nullif(strpos({row}full_name, ' '), 0) + 1)"
WHOLE = "concat_ws(' ', NEW.first_name, nullif(NEW.last_name, ''))"

SYNC = """
CREATE SCHEMA byhand;
CREATE FUNCTION byhand.sync() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.first_name IS NULL AND NEW.last_name IS NULL THEN
            NEW.first_name := {first}; NEW.last_name := {last};
        ELSE
            NEW.full_name := {whole};
        END IF;
    ELSIF (NEW.first_name, NEW.last_name) IS DISTINCT FROM (OLD.first_name, OLD.last_name) THEN
        NEW.full_name := {whole};
    ELSE
        NEW.first_name := {first}; NEW.last_name := {last};
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER zzz_byhand_ins BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION byhand.sync();
CREATE TRIGGER zzz_byhand_upd BEFORE UPDATE ON users FOR EACH ROW
    WHEN ((NEW.first_name, NEW.last_name, NEW.full_name)
        IS DISTINCT FROM (OLD.first_name, OLD.last_name, OLD.full_name))
    EXECUTE FUNCTION byhand.sync();
"""


def expand(*, last: str = LAST) -> tuple[str, ...]:
    """Return the statements of the expansion; another `last` plants a fault in the trigger."""
    sync = SYNC.format(first=FIRST.format(row="NEW."), last=last.format(row="NEW."), whole=WHOLE)
    columns = "ALTER TABLE users ADD COLUMN first_name text, ADD COLUMN last_name text"
    return columns, "ALTER TABLE users ALTER COLUMN full_name SET DEFAULT ''", sync


def backfill(first: int, last: int) -> str:
    """Return the statement that fills a range of keys."""
    names = f"first_name = {FIRST.format(row='')}, last_name = {LAST.format(row='')}"
    return f"UPDATE users SET {names} WHERE id BETWEEN {first} AND {last} AND first_name IS NULL"
