"""The guard, end to end: two versions of an application, each as its own role, on servers that count statements."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from guard_stage import BARE, LIVE, NEW, OLD, OWNER, PLAN, TARGET, Shop, counting, counting_programs, shop

from hitless.adapters.postgres.guard.asked import Asked, Known
from hitless.adapters.postgres.guard.demands import Seen, demands_of, outside
from hitless.adapters.postgres.guard.gate import consider
from hitless.adapters.postgres.guard.sessions import Surroundings
from hitless.adapters.postgres.guard.statements import Sent
from hitless.schema.change.standing import Part
from hitless.schema.guard.decision import Decision, Override
from hitless.schema.guard.evidence import Evidence, Mapped, Source, Statement
from hitless.schema.guard.manifests import Consumer, Manifest
from hitless.schema.guard.verdict import Verdict

NOT_MINE = "reporting"


@pytest.fixture(scope="module", params=[15, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    with counting(request.param) as directory:
        yield directory


@pytest.fixture
def stage(server: Path) -> Iterator[Shop]:
    with shop(server, "shop") as made:
        yield made


def verdict(decision: Decision, name: str) -> Verdict:
    return next(one.verdict for one in decision.judged if one.name == name)


def subjects(decision: Decision) -> set[str]:
    return {one.subject for one in decision.blocks}


def new_version_works(stage: Shop) -> None:
    stage.run(
        "INSERT INTO users (id, first_name, last_name) VALUES (1, 'Ada', 'Lovelace') ON CONFLICT DO NOTHING",
        "SELECT id, first_name, last_name FROM users WHERE id = 1",
        "UPDATE users SET first_name = 'Augusta' WHERE id = 1",
        user=NEW,
    )


def test_a_version_that_does_not_use_it_is_clear(stage: Shop) -> None:
    new_version_works(stage)
    decision = stage.consider(LIVE)
    assert verdict(decision, "shop@42") is Verdict.CLEAR
    assert decision.is_clear, decision.blocks


def test_one_instance_of_the_old_version_blocks_and_clears_when_it_has_left(stage: Shop) -> None:
    new_version_works(stage)
    with stage.connect(OLD) as instance:
        instance.execute("SELECT full_name FROM users WHERE id = 1")
        decision = stage.consider(LIVE)
        assert verdict(decision, "shop@41") is Verdict.REFERENCES
        assert subjects(decision) == {"shop@41"}
        use = next(one for one in decision.judged if one.name == "shop@41").uses[0]
        assert (use.way, use.calls, use.source) == ("names users.full_name", 1, Source.ROLE)
    stage.run(f"DROP OWNED BY {OLD}; DROP ROLE {OLD}")
    assert stage.consider(LIVE).is_clear


@pytest.mark.parametrize(
    ("made", "sent"),
    [
        ("CREATE VIEW names AS SELECT id, full_name AS name FROM users", "SELECT name FROM names"),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT full_name FROM users'", "SELECT f()"),
        (
            "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT full_name FROM users); END'",
            "SELECT f()",
        ),
        ("", "SELECT * FROM users"),
        ("", "SELECT u.id, to_jsonb(u) FROM users u"),
    ],
)
def test_only_the_rollback_target_uses_it_whichever_way(stage: Shop, made: str, sent: str) -> None:
    if made:
        stage.run(made, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {OLD}", user=OWNER)
    new_version_works(stage)
    stage.run(sent, user=OLD)
    decision = stage.consider(LIVE, TARGET)
    assert verdict(decision, "shop@41") is Verdict.REFERENCES
    assert verdict(decision, "shop@42") is Verdict.CLEAR
    assert not decision.is_clear


def test_what_functions_build_at_run_time_is_seen_and_judged(stage: Shop) -> None:
    stage.run(
        "CREATE FUNCTION built(what text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN "
        "EXECUTE 'SELECT count(' || quote_ident(what) || ') FROM us' || 'ers' INTO n; RETURN n; END $$",
        user=OWNER,
    )
    stage.run("SELECT built('email')", user=NEW)
    decision = stage.consider(LIVE)
    assert verdict(decision, "shop@42") is Verdict.UNKNOWN  # the call itself tells nothing
    stage.run("SELECT built('full_name')", user=NEW)
    assert verdict(stage.consider(LIVE), "shop@42") is Verdict.REFERENCES


def test_what_a_function_sends_as_its_owner_is_not_taken_for_seen(stage: Shop) -> None:
    new_version_works(stage)
    body = "LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN EXECUTE what INTO n; RETURN n; END $$"
    stage.run(f"CREATE FUNCTION built(what text) RETURNS bigint {body}", user=OWNER)
    assert stage.consider(LIVE).is_clear
    stage.run(f"CREATE OR REPLACE FUNCTION built(what text) RETURNS bigint SECURITY DEFINER {body}", user=OWNER)
    assert subjects(stage.consider(LIVE)) == {"the function built(text)"}


def test_a_mapped_column_counts_as_used(stage: Shop) -> None:
    new_version_works(stage)
    mapped = Evidence(
        source=Source.STATIC, origin="models", mapped=(Mapped(table="users", columns=("id", "full_name")),)
    )
    manifest = Manifest(service="shop", version="42", digest=None, evidence=(mapped,))
    decision = stage.consider(LIVE, manifests=(manifest,))
    assert verdict(decision, "shop@42") is Verdict.REFERENCES


def test_a_version_of_which_nothing_is_known_is_unknown(stage: Shop) -> None:
    new_version_works(stage)
    decision = stage.consider(LIVE, Known(service="shop", version="40", because="a rollback brings it back"))
    assert verdict(decision, "shop@40") is Verdict.UNKNOWN


def test_a_complete_manifest_clears_a_version_without_a_role(stage: Shop) -> None:
    new_version_works(stage)
    captured = Evidence(
        source=Source.MANIFEST, origin="sqlmanifest.json", statements=(Statement(text="SELECT id FROM users"),)
    )
    manifest = Manifest(service="shop", version="40", digest=None, evidence=(captured,))
    known = Known(service="shop", version="40", because="a rollback brings it back")
    assert stage.consider(LIVE, known, manifests=(manifest,)).is_clear


def test_nobody_having_said_which_versions_there_are_blocks(stage: Shop) -> None:
    new_version_works(stage)
    assert stage.consider(LIVE).is_clear
    decision, _ = consider(stage.database(), "split", PLAN, Part.BROWNOUT, Asked(window=timedelta()))
    assert "versions" in subjects(decision)


def test_too_short_a_window_is_unknown(stage: Shop) -> None:
    new_version_works(stage)
    young = replace(LIVE, served=timedelta(minutes=5))
    decision = stage.consider(young, window=timedelta(hours=24))
    assert verdict(decision, "shop@42") is Verdict.UNKNOWN
    assert any("24 h" in one.reason for each in decision.judged for one in each.doubts)


def test_statistics_that_began_anew_are_unknown_for_a_version_that_is_gone(stage: Shop) -> None:
    new_version_works(stage)
    stage.run("SELECT id FROM users", user=OLD)
    assert stage.consider(LIVE, TARGET).is_clear
    stage.run("SELECT pg_stat_statements_reset()")
    stage.run("SELECT id FROM users", user=OLD)
    new_version_works(stage)
    assert verdict(stage.consider(LIVE, TARGET), "shop@41") is Verdict.UNKNOWN


def test_another_role_that_reads_it_blocks_and_one_that_does_not_is_clear(stage: Shop) -> None:
    new_version_works(stage)
    stage.run(f"CREATE ROLE {NOT_MINE} LOGIN")
    stage.run(f"GRANT SELECT ON users TO {NOT_MINE}", user=OWNER)
    stage.run("SELECT email FROM users", user=NOT_MINE)
    assert verdict(stage.consider(LIVE), f"role {NOT_MINE}") is Verdict.CLEAR
    stage.run("SELECT max(full_name) FROM users", user=NOT_MINE)
    decision = stage.consider(LIVE)
    assert subjects(decision) == {f"role {NOT_MINE}"}
    stage.run(f"DROP OWNED BY {NOT_MINE}")


def test_a_registered_consumer_answers_for_its_role_until_its_word_ends(stage: Shop) -> None:
    new_version_works(stage)
    stage.run(f"CREATE ROLE {NOT_MINE} LOGIN")
    stage.run(f"GRANT SELECT ON users TO {NOT_MINE}", user=OWNER)
    stage.run("CREATE TEMPORARY TABLE mine (id int); SELECT id FROM mine", user=NOT_MINE)  # which nobody can judge
    now = datetime.now(UTC)  # noqa: TID251 - the server's clock decides, this one is near enough
    consumer = Consumer(
        name="report",
        owner="data team",
        expires_at=now + timedelta(days=1),
        roles=(NOT_MINE,),
        uses={"users": ("id", "email")},
    )
    assert stage.consider(LIVE, consumers=(consumer,)).is_clear
    assert verdict(stage.consider(LIVE, consumers=(replace(consumer, expires_at=now),)), "report") is Verdict.UNKNOWN
    stage.run("SELECT max(full_name) FROM users", user=NOT_MINE)
    assert verdict(stage.consider(LIVE, consumers=(consumer,)), "report") is Verdict.REFERENCES  # seen, and not said
    stage.forget_statements()
    new_version_works(stage)
    uses_all = replace(consumer, uses={"users": ()})
    assert verdict(stage.consider(LIVE, consumers=(uses_all,)), "report") is Verdict.REFERENCES
    stage.run(f"DROP OWNED BY {NOT_MINE}")


def test_a_counter_that_moved_blocks_until_it_has_been_quiet(stage: Shop) -> None:
    new_version_works(stage)
    stage.run("SELECT nextval('hitless.split_old_writes')", user=OWNER)
    decision = stage.consider(LIVE)
    assert subjects(decision) == {"counter hitless.split_old_writes"}
    stage.run(
        "INSERT INTO hitless.event (change, at, actor, type, data) VALUES ('split', now() - interval '2 h', 'kim', "
        """'guard.looked', '{"counters": {"hitless.split_old_writes": 1}}')""",
        user=OWNER,
    )
    assert stage.consider(LIVE).is_clear
    assert not stage.consider(LIVE, quiet=timedelta(hours=3)).is_clear


def test_an_override_counts_for_what_it_names_until_it_ends(stage: Shop) -> None:
    new_version_works(stage)
    stage.run("SELECT full_name FROM users", user=OLD)
    now = datetime.now(UTC)  # noqa: TID251 - as above
    word = Override(
        subject="shop@41", actor="kim", reason="it is never rolled back to", expires_at=now + timedelta(hours=1)
    )
    decision = stage.consider(LIVE, TARGET, overrides=(word,))
    assert decision.is_clear
    assert [one.actor for _, one in decision.overridden] == ["kim"]
    ended = replace(word, expires_at=now - timedelta(seconds=1))
    assert not stage.consider(LIVE, TARGET, overrides=(ended,)).is_clear


def test_a_replication_slot_blocks_until_somebody_answers_for_it() -> None:
    with counting(18, wal_level="logical") as directory, shop(directory, "slots") as stage:
        new_version_works(stage)
        stage.run("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
        assert subjects(stage.consider(LIVE)) == {"slot debezium"}
        now = datetime.now(UTC)  # noqa: TID251 - as above
        known = Consumer(
            name="cdc", owner="data team", expires_at=now + timedelta(days=1), slots=("debezium",), uses={"orders": ()}
        )
        assert stage.consider(LIVE, consumers=(known,)).is_clear
        stage.run("SELECT pg_drop_replication_slot('debezium')")


def test_evicted_entries_make_it_unknown() -> None:
    with counting(18, **{"pg_stat_statements.max": "100"}) as directory, shop(directory, "small") as stage:
        new_version_works(stage)
        with stage.connect(NEW) as connection:
            for number in range(150):
                connection.execute(f"SELECT id, {', '.join(['email'] * (number + 1))} FROM users".encode())
        decision = stage.consider(LIVE)
        assert verdict(decision, "shop@42") is Verdict.UNKNOWN
        assert any("evicted" in one.reason for each in decision.judged for one in each.doubts)


def test_without_the_extension_it_is_unknown(stage: Shop) -> None:
    new_version_works(stage)
    stage.run("DROP EXTENSION pg_stat_statements")
    decision = stage.consider(LIVE)
    assert verdict(decision, "shop@42") is Verdict.UNKNOWN


def test_a_standby_that_nobody_looks_at_blocks() -> None:
    with counting(18) as directory, shop(directory, "standbys") as stage:
        new_version_works(stage)
        receiver = subprocess.Popen(
            [
                counting_programs()[18] / "pg_receivewal",
                "-D",
                str(_within(directory)),
                "-h",
                str(directory),
                "-U",
                "postgres",
            ],
            env={"PGAPPNAME": "reports", "PATH": "/usr/bin"},
        )
        try:
            _wait_for_standby(stage)
            assert subjects(stage.consider(LIVE)) == {"standby reports"}
        finally:
            receiver.terminate()
            receiver.wait(20)


def _within(directory: Path) -> Path:
    made = directory / "received"
    made.mkdir()
    return made


def _wait_for_standby(stage: Shop) -> None:
    with stage.connect() as connection:
        for _ in range(200):
            if connection.execute("SELECT 1 FROM pg_stat_replication").fetchone():
                return
            connection.execute("SELECT pg_sleep(0.05)")
    raise AssertionError("no standby has connected")


def test_a_reset_of_one_role_alone_makes_it_unknown_until_all_begins_anew(stage: Shop) -> None:
    stage.run("SELECT full_name FROM users", user=NEW)
    stage.run(f"SELECT pg_stat_statements_reset('{NEW}'::regrole, 0, 0)")
    new_version_works(stage)
    assert verdict(stage.consider(LIVE), "shop@42") is Verdict.UNKNOWN
    stage.forget_statements()
    new_version_works(stage)
    assert verdict(stage.consider(LIVE), "shop@42") is Verdict.CLEAR


def test_making_the_extension_is_no_reset(stage: Shop) -> None:
    stage.run("DROP EXTENSION pg_stat_statements", "CREATE EXTENSION pg_stat_statements")
    new_version_works(stage)
    assert verdict(stage.consider(LIVE), "shop@42") is Verdict.CLEAR


def test_a_version_of_a_service_that_nobody_has_named_counts_though_it_is_not_connected_just_now(stage: Shop) -> None:
    new_version_works(stage)
    stage.run(f"UPDATE hitless.role SET service = 'billing' WHERE role = '{OLD}'", user=OWNER)
    assert verdict(stage.consider(LIVE), "billing@41") is Verdict.UNKNOWN
    stage.run("SELECT full_name FROM users", user=OLD)
    assert verdict(stage.consider(LIVE), "billing@41") is Verdict.REFERENCES
    assert (
        stage.consider(LIVE, Known(service="billing", version="42", because="stable")).blocks[0].subject != "billing@41"
    )


def test_a_word_counts_neither_for_a_version_nor_for_another_consumer_of_its_name(stage: Shop) -> None:
    new_version_works(stage)
    now = datetime.now(UTC)  # noqa: TID251 - as above
    word = Consumer(name="shop@41", owner="kim", expires_at=now + timedelta(days=1), roles=(OLD,), uses={"orders": ()})
    assert verdict(stage.consider(LIVE, TARGET, consumers=(word,)), "shop@41") is Verdict.UNKNOWN
    uses = replace(word, name="report", uses={"users": ()})
    says_not = replace(word, name="report", owner="lee")
    decision = stage.consider(LIVE, consumers=(uses, says_not))
    assert "report" in subjects(decision)
    with stage.connect(OLD) as instance:
        instance.execute("SELECT full_name FROM users")
        assert "shop@41" in subjects(stage.consider(LIVE, consumers=(replace(word, name="report"),)))


def test_a_subscription_that_writes_the_table_blocks() -> None:
    with counting(18, wal_level="logical") as directory, shop(directory, "fed") as stage:
        new_version_works(stage)
        stage.run("CREATE DATABASE source")
        with psycopg.connect(host=str(directory), user="postgres", dbname="source", autocommit=True) as source:
            source.execute(BARE.encode())
            source.execute("CREATE PUBLICATION feed FOR TABLE users")
            source.execute("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')")
            stage.run(
                f"CREATE SUBSCRIPTION feed CONNECTION 'host={directory} user=postgres dbname=source' PUBLICATION feed "
                "WITH (create_slot = false, enabled = false, copy_data = false)"
            )
            assert "subscription feed" in subjects(stage.consider(LIVE))
            stage.run("DROP SUBSCRIPTION feed")


NOBODY_AROUND = Surroundings(
    me=OWNER,
    now=datetime(2026, 1, 9, tzinfo=UTC),
    sessions=(),
    versions={},
    permitted=(NOT_MINE,),
    standbys=(),
    slots={},
    subscriptions=(),
    is_standby=False,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize(("loaded_at", "is_seen"), [(8, False), (7, True), (1, True)])
def test_what_functions_send_is_not_seen_before_it_was_tracked(loaded_at: int, is_seen: bool) -> None:
    sent = Sent(
        server="here",
        by_role={},
        lacks=(),
        lacks_of={},
        nested_seen=True,
        since=datetime(2026, 1, 1, tzinfo=UTC),
        loaded_at=datetime(2026, 1, loaded_at, 6, tzinfo=UTC) if loaded_at > 1 else datetime(2026, 1, 1, tzinfo=UTC),
    )
    seen = Seen(around=(NOBODY_AROUND,), sent=(sent,))
    (demand,) = demands_of(seen, Asked(known=(), window=timedelta(hours=24)))
    (evidence,) = demand.evidence
    assert evidence.shows_absence
    assert evidence.nested_seen is is_seen


def test_naming_the_primary_as_a_replica_answers_for_no_standby() -> None:
    around = replace(NOBODY_AROUND, standbys=("reports",))
    standby = replace(around, is_standby=True, standbys=(), started_at=datetime(2026, 1, 2, tzinfo=UTC))
    asked = Asked(known=(LIVE,))
    assert [one.subject for one in outside(Seen(around=(around, replace(around, standbys=())), sent=()), asked)] == [
        "standby reports"
    ]
    assert outside(Seen(around=(around, standby), sent=()), asked) == ()
    twice = replace(around, standbys=("reports", "more"))
    assert [one.subject for one in outside(Seen(around=(twice, standby, standby), sent=()), asked)] == ["standby more"]
    behind = replace(standby, standbys=("behind",))
    assert [one.subject for one in outside(Seen(around=(around, behind), sent=()), asked)] == ["standby behind"]


def test_a_declared_name_that_is_not_there_blocks(stage: Shop) -> None:
    new_version_works(stage)
    now = datetime.now(UTC)  # noqa: TID251 - as above
    word = Consumer(name="report", owner="lee", expires_at=now + timedelta(days=1), uses={"users": ("id", "fullname")})
    assert subjects(stage.consider(LIVE, consumers=(word,))) == {"names of report"}
    assert subjects(stage.consider(LIVE, consumers=(replace(word, uses={"user": ()}),))) == {"names of report"}
    assert stage.consider(LIVE, consumers=(replace(word, uses={"public.users": ("id",)}),)).is_clear


def test_manifests_of_one_version_and_different_artifacts_show_no_absence(stage: Shop) -> None:
    new_version_works(stage)
    captured = Evidence(source=Source.MANIFEST, origin="a", statements=(Statement(text="SELECT id FROM users"),))
    one = Manifest(service="shop", version="40", digest="sha256:1", evidence=(captured,))
    other = replace(one, digest="sha256:2")
    known = Known(service="shop", version="40", because="a rollback brings it back")
    assert verdict(stage.consider(LIVE, known, manifests=(one, one)), "shop@40") is Verdict.CLEAR
    assert verdict(stage.consider(LIVE, known, manifests=(one, other)), "shop@40") is Verdict.UNKNOWN


def test_a_lock_of_the_table_wants_privileges_that_a_brownout_takes(stage: Shop) -> None:
    stage.run("BEGIN; LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE; COMMIT", user=NEW)
    assert verdict(stage.consider(LIVE), "shop@42") is Verdict.REFERENCES


def test_a_role_that_may_become_the_owner_is_not_stopped_by_a_brownout(stage: Shop) -> None:
    new_version_works(stage)
    stage.run(f"ALTER ROLE {NEW} NOINHERIT", f"GRANT {OWNER} TO {NEW}")
    assert subjects(stage.consider(LIVE)) == {f"bypass {NEW}"}
    stage.run(f"REVOKE {OWNER} FROM {NEW}", f"ALTER ROLE {NEW} INHERIT")
