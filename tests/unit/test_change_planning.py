"""What plans are made of: every statement can be read, the lint finds no error, nothing reads a table under a lock."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from change_cases import CASES

from hitless.config.change_file import parse_change
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.change.dependents import dependents_of
from hitless.schema.change.footprint import footprints, statements_of
from hitless.schema.change.intent import Intent
from hitless.schema.change.planner import PLANNERS, plan_change
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.script import script_of
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Build, Compare, Ddl, Fill, Plan, Validate
from hitless.schema.effects.effect import Work
from hitless.schema.linting import catalog_of, lint
from hitless.schema.reading.script import Unreadable, read_script
from hitless.schema.reading.source import Source
from hitless.schema.rules.rule import Settings, Severity

POSTGRES = 18


def known(case: str) -> tuple[Plan, Catalog]:
    script, change = CASES[case]
    catalog = catalog_of(Source("schema.sql", script))
    plan = plan_change(parse_change(f"change: a\n{change}", name="a.yaml"), catalog, POSTGRES, dependents_of(script))
    return plan, catalog


def everything_done(plan: Plan) -> str:
    """Write the statements of a plan, each step as it is run."""
    parts = ["SET lock_timeout = '100ms';"]
    for step in plan.steps:
        text = "".join(f"{one};\n" for one in statements_of(step))
        parts.append(f"BEGIN;\n{text}COMMIT;" if isinstance(step, Ddl) else text)
    return "\n".join(parts)


def test_every_intent_has_a_planner() -> None:
    assert set(PLANNERS) == set(get_args(Intent))


CASES_WITHOUT_IDENTITY = [one for one in CASES if "identity" not in one]
"""How an identity counts only a dump tells, which the tests on servers have."""


@pytest.mark.parametrize("case", CASES_WITHOUT_IDENTITY)
def test_the_lint_finds_no_error_in_a_plan(case: str) -> None:
    plan, catalog = known(case)
    parts = [(part, [one for one in plan.steps if one.part is part]) for part in Part]
    for part, steps in parts:
        text = everything_done(Plan(change=plan.change, steps=tuple(steps)))
        report = lint([Source(f"{part}.sql", text)], catalog=catalog, settings=Settings(postgres=POSTGRES))
        assert report.unread == ()
        assert [one for one in report.findings if one.severity is Severity.ERROR] == []
        catalog = catalog_of(Source("s.sql", "\n".join([CASES[case][0], _until(plan, part)])))


def _until(plan: Plan, part: Part) -> str:
    order = list(Part)
    steps = tuple(one for one in plan.steps if order.index(one.part) <= order.index(part))
    return everything_done(Plan(change=plan.change, steps=steps))


@pytest.mark.parametrize("case", CASES_WITHOUT_IDENTITY)
def test_only_what_hinders_nobody_reads_a_table(case: str) -> None:
    plan, catalog = known(case)
    effects = footprints(plan, catalog, POSTGRES)
    for step in plan.steps:
        if not isinstance(step, Validate | Build | Fill | Compare):
            assert effects[step.id].work is Work.NONE, step.title
        assert effects[step.id].work is not Work.REWRITE, step.title
        blocking = [one for one in effects[step.id].locks if one.mode.blocks_writes and one.work is not Work.NONE]
        assert blocking == [], step.title


@pytest.mark.parametrize("case", CASES_WITHOUT_IDENTITY)
def test_steps_are_numbered_within_their_parts_in_the_order_of_parts(case: str) -> None:
    plan, _ = known(case)
    order = [list(Part).index(one.part) for one in plan.steps]
    assert order == sorted(order)
    for part in Part:
        assert [one.id for one in plan.of(part)] == [f"{part}.{number + 1}" for number in range(len(plan.of(part)))]


@pytest.mark.parametrize("case", CASES)
def test_without_a_schema_a_plan_is_valid_sql_or_says_what_it_needs(case: str) -> None:
    try:
        plan = plan_change(parse_change(f"change: a\n{CASES[case][1]}", name="a.yaml"))
    except CannotPlan as refused:
        hints = refused.hints
        plan = None
    if plan is None:
        assert any("--schema" in one for one in hints)
        return
    script = script_of(plan, footprints(plan, Catalog(), 15))
    assert [one for one in read_script(script) if isinstance(one, Unreadable)] == []


@pytest.mark.parametrize("case", CASES_WITHOUT_IDENTITY)
def test_what_is_printed_is_valid_sql_and_names_every_step(case: str) -> None:
    plan, catalog = known(case)
    script = script_of(plan, footprints(plan, catalog, POSTGRES))
    assert [one for one in read_script(script) if isinstance(one, Unreadable)] == []
    assert re.findall(r"^-- ([a-z]+\.\d+): ", script, re.MULTILINE) == [one.id for one in plan.steps]


def test_every_step_but_the_last_part_can_be_taken_back() -> None:
    for case in CASES_WITHOUT_IDENTITY:
        for step in known(case)[0].steps:
            if isinstance(step, Ddl) and step.part is not Part.DROP:
                assert step.undo, (case, step.title)


def test_what_cannot_be_carried_over_by_itself_is_said() -> None:
    script = """CREATE TABLE public.users (id int PRIMARY KEY, email text);
        ALTER TABLE public.users ADD CONSTRAINT later CHECK (email <> '') NOT ENFORCED;
        CREATE FUNCTION public.tidy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := 1; RETURN NEW; END';
        CREATE TRIGGER tidy BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.tidy();
        CREATE VIEW public.mails AS SELECT email FROM public.users;
        CREATE PUBLICATION p FOR TABLE public.users;"""
    change = parse_change("change: a\ntable: users\nrename: {email: mail}", name="a.yaml")
    plan = plan_change(change, catalog_of(Source("s.sql", script)), POSTGRES, dependents_of(script))
    assert plan.notes == (
        "later is NOT ENFORCED, and not carried over",
        "the view mails reads email: write it anew, without, before the contract",
        "tidy() of the trigger tidy names email: write it anew, without, before the contract",
        (
            "add the new columns, without triggers, to what subscribes to p before the expansion; columns"
            " hitless_gone_email too, as former ones are called in the end, or it stops applying rows"
        ),
    )


def test_a_publication_of_all_tables_or_of_the_schema_is_said_too() -> None:
    change = parse_change("change: a\ntable: users\nrename: {email: mail}", name="a.yaml")
    for published, is_said in (
        ("CREATE PUBLICATION p FOR ALL TABLES", True),
        ("CREATE PUBLICATION p; ALTER PUBLICATION p ADD TABLES IN SCHEMA public", True),
        ("CREATE PUBLICATION p; ALTER PUBLICATION p ADD TABLES IN SCHEMA other", False),
    ):
        script = f"CREATE TABLE public.users (id int PRIMARY KEY, email text);\n{published};"
        plan = plan_change(change, catalog_of(Source("s.sql", script)), POSTGRES, dependents_of(script))
        assert any("what subscribes to p" in one for one in plan.notes) is is_said, published
