"""The text of triggers: what a person reads in a plan is what runs."""

from __future__ import annotations

from hitless.config.change_file import parse_change
from hitless.schema.change.dependents import dependents_of
from hitless.schema.change.planner import plan_change
from hitless.schema.change.steps import Ddl, Fill, Plan
from hitless.schema.linting import catalog_of
from hitless.schema.reading.source import Source

USERS = "CREATE TABLE users (id int PRIMARY KEY, email text, price numeric, bio text, n int NOT NULL DEFAULT 1);"


def plan(change: str, script: str | None = USERS) -> Plan:
    read = parse_change(f"change: a-change\ntable: users\n{change}", name="a.yaml")
    if script is None:
        return plan_change(read)
    return plan_change(read, catalog_of(Source("s.sql", script)), 15, dependents_of(script))


def expansion(made: Plan) -> Ddl:
    step = made.steps[0]
    assert isinstance(step, Ddl)
    return step


def test_a_rename_is_kept_the_same_both_ways() -> None:
    assert expansion(plan("rename: {email: mail}")).do == (
        'CREATE SEQUENCE hitless."a-change_old_writes"',
        "GRANT USAGE ON SCHEMA hitless TO PUBLIC",
        'GRANT USAGE ON SEQUENCE hitless."a-change_old_writes" TO PUBLIC',
        "ALTER TABLE public.users ADD COLUMN mail text",
        """\
CREATE FUNCTION hitless."a-change_sync"() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, \
pg_temp AS $hitless$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.mail IS NULL THEN
            NEW.mail := new.email;
            PERFORM nextval('hitless."a-change_old_writes"');
        ELSE
            NEW.email := new.mail;
        END IF;
    ELSE
        IF OLD.mail IS DISTINCT FROM NEW.mail THEN
            NEW.email := new.mail;
        ELSE
            NEW.mail := new.email;
            PERFORM nextval('hitless."a-change_old_writes"');
        END IF;
    END IF;
    RETURN NEW;
END
$hitless$""",
        "SET LOCAL search_path = pg_catalog, public, pg_temp",
        """\
CREATE TRIGGER "zzz_hitless_a-change_ins" BEFORE INSERT ON public.users FOR EACH ROW
    WHEN (NEW.mail IS DISTINCT FROM new.email AND (NEW.mail IS NULL OR NEW.email IS DISTINCT FROM new.mail))
    EXECUTE FUNCTION hitless."a-change_sync"()""",
        """\
CREATE TRIGGER "zzz_hitless_a-change_upd" BEFORE UPDATE ON public.users FOR EACH ROW
    WHEN ((OLD.email IS DISTINCT FROM NEW.email OR OLD.mail IS DISTINCT FROM NEW.mail) AND \
NEW.mail IS DISTINCT FROM new.email AND NEW.email IS DISTINCT FROM new.mail)
    EXECUTE FUNCTION hitless."a-change_sync"()""",
        (
            'ALTER TABLE public.users ENABLE ALWAYS TRIGGER "zzz_hitless_a-change_ins",'
            ' ENABLE ALWAYS TRIGGER "zzz_hitless_a-change_upd"'
        ),
    )


def test_without_a_schema_the_type_is_asked_of_the_server() -> None:
    statement = expansion(plan("rename: {email: mail}", None)).do[3]
    assert "format_type(atttypid, atttypmod)" in statement
    assert "attrelid = 'users'::regclass AND attname = 'email'" in statement


def test_values_that_are_equal_and_not_the_same_are_compared_as_text() -> None:
    text = "\n".join(expansion(plan("rename: {price: cost}")).do)
    assert '(NEW.cost)::text COLLATE "C" IS DISTINCT FROM (new.price)::text COLLATE "C"' in text


def test_writes_of_a_column_that_is_swapped_are_not_counted_because_both_releases_make_them() -> None:
    made = plan("type: {n: bigint}")
    assert made.watches == ()
    assert not any("nextval" in one or "SEQUENCE" in one for one in expansion(made).do)


def test_writes_of_what_goes_are_counted_beside_a_swap() -> None:
    made = plan("type: {n: bigint}\nrename: {email: mail}\nnot_null: {bio: \"''\"}")
    function = next(one for one in expansion(made).do if "FUNCTION" in one.partition("\n")[0])
    assert function.count("nextval") == 3  # two of the rename, one of the gap
    sentence = "a release wrote email and nothing new or left bio NULL"
    assert [one.sentence for one in made.watches] == [sentence]


def test_a_gap_is_filled_and_counted() -> None:
    step = expansion(plan("not_null: {bio: \"coalesce(email, '')\"}"))
    assert "NEW.bio := COALESCE(new.email, '');" in step.do[3]
    assert step.do[5] == "SELECT COALESCE(email, '') FROM public.users WHERE false"  # read as the trigger will read it
    assert "WHEN (NEW.bio IS NULL)" in step.do[6]


def test_a_change_of_several_columns_fills_each_row_once() -> None:
    fills = [one for one in plan("type: {n: bigint}\nrename: {email: mail}").steps if isinstance(one, Fill)]
    assert [list(one.assignments) for one in fills] == [["hitless_n", "mail"]] or [
        list(one.assignments) for one in fills
    ] == [["mail", "hitless_n"]]
