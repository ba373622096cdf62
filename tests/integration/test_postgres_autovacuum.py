"""Autovacuum in the way: the usual one is made to give way, one that prevents a wraparound is not waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from migrator_stage import CHANGE, PLAN, SPEC, Stage, stage
from postgres_support import running

from hitless.adapters.postgres.patience import LocksNotHad, WraparoundAhead
from hitless.schema.change.standing import Standing, Verb
from hitless.schema.change.steps import Plan

WITHIN_S = 60.0
SETTINGS = {"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_freeze_max_age": "100000"}
SLOW = "ALTER TABLE users SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
"""Its vacuum takes minutes; those of the catalogues, which come before it, do not."""

BURN = """
DO $$ BEGIN
  FOR n IN 1..120000 LOOP
    PERFORM txid_current();
    COMMIT;
  END LOOP;
END $$
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with running(18, **SETTINGS) as directory:
        yield directory


@pytest.fixture
def shop(server: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stage(18, server, f"shop_{abs(hash(request.node.name)) % 10_000}") as made:
        yield made


VACUUM = """
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker' AND datname = current_database()
AND query LIKE 'autovacuum: VACUUM%public.users%'
"""


def wait_for_vacuum(shop: Stage) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not shop.value(VACUUM):
        assert time.monotonic() < deadline_s, "no autovacuum came"
        time.sleep(0.05)


def churn(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute(SLOW)
        connection.execute("INSERT INTO users (email, name) SELECT 'e', repeat('x', 500) FROM generate_series(1, 5000)")
        connection.execute("UPDATE users SET name = name || 'y'")


ONE_STEP = Plan(change=CHANGE, steps=PLAN.steps[:1])


def test_autovacuum_gives_way_to_a_role_that_may_shorten_the_search_for_deadlocks(shop: Stage) -> None:
    churn(shop)
    wait_for_vacuum(shop)
    migrator = shop.migrator(deadline_s=20.0)
    migrator.register(SPEC, ONE_STEP)
    assert migrator.carry_out(CHANGE, Verb.EXPAND).standing is Standing.EXPANDED


def test_autovacuum_is_waited_for_and_named_where_the_role_may_not(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS plain")
        connection.execute("CREATE ROLE plain LOGIN IN ROLE pg_monitor")
        connection.execute(f"GRANT CREATE ON DATABASE {shop.name} TO plain".encode())
        connection.execute("ALTER TABLE users OWNER TO plain")
    churn(shop)
    wait_for_vacuum(shop)
    migrator = shop.migrator(deadline_s=1.0, user="plain")
    migrator.register(SPEC, ONE_STEP)
    with pytest.raises(LocksNotHad) as refused:
        migrator.carry_out(CHANGE, Verb.EXPAND)
    assert "autovacuum: VACUUM" in refused.value.evidence[0]
    with shop.connect() as connection:
        connection.execute("REASSIGN OWNED BY plain TO postgres")
        connection.execute("DROP OWNED BY plain")


def test_an_autovacuum_that_prevents_a_wraparound_is_not_waited_for(shop: Stage) -> None:
    migrator = shop.migrator(deadline_s=60.0)
    migrator.register(SPEC, ONE_STEP)
    churn(shop)
    with shop.connect() as connection:
        connection.execute("ALTER TABLE users SET (autovacuum_enabled = off)")  # but for a wraparound
        connection.execute(BURN)
    wait_for_vacuum(shop)
    with pytest.raises(WraparoundAhead) as refused:
        migrator.carry_out(CHANGE, Verb.EXPAND)
    assert "to prevent wraparound" in refused.value.evidence[0]
