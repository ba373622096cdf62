"""Login roles by version and connections, on real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from postgres_support import connect, running
from psycopg import sql

from hitless.adapters.postgres.connections import limits_of, room_for_migration
from hitless.adapters.postgres.examining import look_at
from hitless.adapters.postgres.roles import (
    GroupMissing,
    RoleNotAllowed,
    RoleTaken,
    copy_to_table,
    drop_roles,
    make_role,
    raise_limits,
    roles_of,
    take_limits_back,
)
from hitless.adapters.postgres.sessions import read_sessions
from hitless.doctor.measures import DatabaseState
from hitless.rollout.spec import (
    Address,
    ConnectionsSpec,
    DatabaseSpec,
    RolesSpec,
    RunSpec,
    ServiceSpec,
    TrafficSpec,
)
from hitless.schema.roles import VersionRole

ROLE = VersionRole(service="shop", version="1.4", key="k1", connections=3)
NAME = "shop_v1.4"


@pytest.fixture(scope="module", params=[15, 16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A server on which members of `app` need their password."""
    with running(request.param) as directory:
        rules = directory / "data" / "pg_hba.conf"
        rules.write_text("local all +app scram-sha-256\n" + rules.read_text())
        with connect(directory) as connection:
            connection.autocommit = True
            connection.execute("CREATE ROLE app NOLOGIN")
            connection.execute("SELECT pg_reload_conf()")
        yield directory


@pytest.fixture
def connection(server: Path) -> Iterator[psycopg.Connection]:
    """A superuser's session; roles of versions are gone afterwards."""
    with connect(server) as connection:
        connection.autocommit = True
        yield connection
        for name in roles_of(connection):
            role = sql.Identifier(name)
            connection.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))


def make(connection: psycopg.Connection, role: VersionRole = ROLE, name: str = NAME) -> None:
    make_role(connection, name, role, group="app", password="secret")


def as_role(server: Path, password: str = "secret", name: str = NAME) -> psycopg.Connection:
    return psycopg.connect(host=str(server), user=name, dbname="postgres", password=password)


def until_nobody_is_connected(connection: psycopg.Connection, name: str = NAME) -> None:
    deadline = time.monotonic() + 10
    query = "SELECT 1 FROM pg_stat_activity WHERE usename = %s"
    while connection.execute(query, (name,)).fetchone() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def limit_of(connection: psycopg.Connection, name: str = NAME) -> int:
    row = connection.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    assert row is not None
    return int(row[0])


def test_a_version_logs_in_with_its_password_and_has_what_its_group_has(
    server: Path, connection: psycopg.Connection
) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS items (id int); GRANT SELECT ON items TO app")
    make(connection)
    with as_role(server) as session:
        assert session.execute("SELECT count(*) FROM items").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="password"):
        as_role(server, "wrong")


def test_making_a_role_again_changes_nothing_but_its_limit(server: Path, connection: psycopg.Connection) -> None:
    make(connection)
    make(connection, replace(ROLE, connections=7))
    assert limit_of(connection) == 7
    assert roles_of(connection) == {NAME: replace(ROLE, connections=7)}
    as_role(server).close()


def test_a_version_opens_no_more_connections_than_its_pools_have(server: Path, connection: psycopg.Connection) -> None:
    make(connection, replace(ROLE, connections=1))
    with as_role(server), pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        as_role(server)


def test_no_password_is_in_a_statement(connection: psycopg.Connection) -> None:
    make(connection)
    row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (NAME,)).fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize("name", ["shop_v" + "x" * 57, "shop_vü\"';--", "shop_v1 2", "shop_vSELECT"])
def test_any_text_of_a_version_makes_a_role(server: Path, connection: psycopg.Connection, name: str) -> None:
    make(connection, name=name)
    as_role(server, name=name).close()


def test_a_name_that_is_somebody_elses_is_left_alone(connection: psycopg.Connection) -> None:
    connection.execute(f'CREATE ROLE "{NAME}" LOGIN')
    try:
        with pytest.raises(RoleTaken, match="hitless has not made"):
            make(connection)
    finally:
        connection.execute(f'DROP ROLE "{NAME}"')


def test_a_role_of_another_service_or_another_key_is_left_alone(connection: psycopg.Connection) -> None:
    make(connection)
    with pytest.raises(RoleTaken, match=r"one of shop 1\.4"):
        make(connection, replace(ROLE, service="cart"))
    with pytest.raises(RoleTaken, match="password"):
        make(connection, replace(ROLE, key="k2"))
    assert roles_of(connection) == {NAME: ROLE}


def test_a_group_that_is_not_there_is_named(connection: psycopg.Connection) -> None:
    with pytest.raises(GroupMissing, match="nobody"):
        make_role(connection, NAME, ROLE, group="nobody", password="secret")


def test_least_privileges_suffice_and_missing_ones_are_named(server: Path, connection: psycopg.Connection) -> None:
    connection.execute("CREATE ROLE keeper LOGIN")
    try:
        with psycopg.connect(host=str(server), user="keeper", dbname="postgres", autocommit=True) as keeper:
            with pytest.raises(RoleNotAllowed, match="keeper may not make"):
                make(keeper)
            connection.execute("ALTER ROLE keeper CREATEROLE; GRANT app TO keeper WITH ADMIN OPTION")
            # as a member of app it needs a password from now on: this session is open already
            make(keeper)
            make(keeper)
            assert raise_limits(keeper, "shop", key="k1", times=(4, 2)) == (NAME,)
            assert take_limits_back(keeper, "shop", key="k1") == (NAME,)
            as_role(server).close()
            until_nobody_is_connected(connection)
            assert drop_roles(keeper, "shop", key="k1", keep=frozenset()) == ()
            assert roles_of(connection) == {}
    finally:
        connection.execute("DROP OWNED BY keeper; DROP ROLE keeper")


def test_roles_of_versions_that_may_come_back_stay(connection: psycopg.Connection) -> None:
    make(connection)
    make(connection, replace(ROLE, version="1.5"), "shop_v1.5")
    make(connection, replace(ROLE, service="cart"), "cart_v1.4")
    assert drop_roles(connection, "shop", key="k1", keep=frozenset({"1.5"})) == ()
    assert set(roles_of(connection)) == {"shop_v1.5", "cart_v1.4"}


def test_a_role_that_owns_something_or_is_in_use_stays_and_that_is_said(
    server: Path, connection: psycopg.Connection
) -> None:
    make(connection)
    connection.execute("GRANT CREATE ON SCHEMA public TO app")
    with as_role(server) as session:
        session.execute("CREATE TABLE theirs (id int)")
        session.commit()
        (why,) = drop_roles(connection, "shop", key="k1", keep=frozenset())
        assert "1 sessions are open" in why
    until_nobody_is_connected(connection)
    (why,) = drop_roles(connection, "shop", key="k1", keep=frozenset())
    assert "it owns 1 objects in postgres" in why
    assert 'REASSIGN OWNED BY "shop_v1.4"' in why
    assert connection.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    connection.execute(f'REASSIGN OWNED BY "{NAME}" TO postgres; DROP TABLE theirs')


def test_a_role_with_privileges_of_its_own_stays_and_that_is_said(connection: psycopg.Connection) -> None:
    make(connection)
    connection.execute(f'CREATE TABLE given (id int); GRANT SELECT ON given TO "{NAME}"')
    (why,) = drop_roles(connection, "shop", key="k1", keep=frozenset())
    assert "privileges of its own" in why
    connection.execute("DROP TABLE given")


def test_a_limit_that_was_raised_is_taken_back_by_whoever_comes_next(connection: psycopg.Connection) -> None:
    make(connection)
    assert raise_limits(connection, "shop", key="k1", times=(20, 10)) == (NAME,)
    assert limit_of(connection) == 6
    assert roles_of(connection)[NAME].raised_to == 6
    with connect(Path(connection.info.host)) as other:
        other.autocommit = True
        assert take_limits_back(other, "shop", key="k1") == (NAME,)
        assert take_limits_back(other, "shop", key="k1") == ()
    assert limit_of(connection) == 3
    assert roles_of(connection) == {NAME: ROLE}


def test_the_table_of_roles_is_a_copy_where_it_is_there(connection: psycopg.Connection) -> None:
    make(connection)
    copy_to_table(connection, "shop")
    connection.execute("CREATE SCHEMA hitless")
    connection.execute("CREATE TABLE hitless.role (role text PRIMARY KEY, service text, version text)")
    try:
        copy_to_table(connection, "shop")
        copy_to_table(connection, "shop")
        rows = connection.execute("SELECT role, service, version FROM hitless.role").fetchall()
        assert rows == [(NAME, "shop", "1.4")]
        drop_roles(connection, "shop", key="k1", keep=frozenset())
        copy_to_table(connection, "shop")
        assert connection.execute("SELECT role FROM hitless.role").fetchall() == []
    finally:
        connection.execute("DROP SCHEMA hitless CASCADE")


def test_others_that_are_connected_now_count_and_the_services_own_do_not(
    server: Path, connection: psycopg.Connection
) -> None:
    make(connection)
    before = {one.what: one for one in limits_of(connection, service="shop", key="k1")}
    server_limit = before["server"]
    assert (server_limit.connections, server_limit.is_server) == (20, True)
    assert server_limit.kept_back >= 3
    with as_role(server), connect(server), connect(server, "template1"):
        now = {one.what: one for one in limits_of(connection, service="shop", key="k1")}
        assert now["server"].others - server_limit.others == 2
        assert now["database postgres"].others - before["database postgres"].others == 1


def test_sessions_of_a_shared_role_are_the_services_up_to_what_it_takes(
    server: Path, connection: psycopg.Connection
) -> None:
    connection.execute("CREATE ROLE shared LOGIN CONNECTION LIMIT 5")
    try:
        usual = limits_of(connection, service="shop", role="shared", allowed=1, is_shared=True)[0].others
        opened = [psycopg.connect(host=str(server), user="shared", dbname="postgres") for _ in range(3)]
        found = limits_of(connection, service="shop", role="shared", allowed=1, is_shared=True)
        assert found[0].others - usual == 2
        assert found[2].what == "role shared"
        assert (found[2].connections, found[2].is_of_role) == (5, True)
        for one in opened:
            one.close()
    finally:
        connection.execute("DROP ROLE shared")


def test_a_migration_looks_whether_there_is_room_for_its_workers(connection: psycopg.Connection) -> None:
    assert room_for_migration(connection).fits
    assert not room_for_migration(connection, workers=20).fits


def test_the_sessions_of_each_version_are_read_over_its_limit(server: Path, connection: psycopg.Connection) -> None:
    make(connection)
    make(connection, replace(ROLE, version="1.5", connections=None), "shop_v1.5")
    make(connection, replace(ROLE, service="cart"), "cart_v1.4")
    with as_role(server), as_role(server):
        (found,) = read_sessions(connection, "shop", key="k1")
    assert (found.version, found.pool, found.used, found.size) == ("1.4", "database_role", 2.0, 3.0)
    assert raise_limits(connection, "shop", key="k1", times=(4, 2)) == (NAME,)
    assert read_sessions(connection, "shop", key="k1")[0].size == 6.0


def test_a_doctor_sees_room_and_privileges(server: Path, connection: psycopg.Connection) -> None:
    connection.execute("CREATE ROLE keeper LOGIN")
    try:
        seen = examined(server, "keeper")
        assert (seen.problem, seen.opens, seen.has_statements) == (None, 6, None)
        assert seen.room <= 17
        assert examined(server, "postgres").has_statements is False  # the setting is shown to few
        assert seen.in_use >= 1
        assert seen.group is not None
        assert (seen.group.exists, seen.group.may_make, seen.group.may_give) == (True, False, False)
        connection.execute("ALTER ROLE keeper CREATEROLE")
        connection.execute("CREATE ROLE theirs NOLOGIN; GRANT theirs TO keeper WITH ADMIN OPTION")
        seen = examined(server, "keeper", group="theirs")
        assert seen.group is not None
        assert (seen.group.may_make, seen.group.may_give) == (True, True)
        nobody = examined(server, "keeper", group="nobody").group
        assert nobody is not None
        assert not nobody.exists
    finally:
        connection.execute("DROP ROLE IF EXISTS theirs; DROP ROLE keeper")


def test_a_doctor_says_why_a_database_cannot_be_asked() -> None:
    unset, gone = look_at(spec_of("app"), {}), look_at(spec_of("app"), {"DB": "host=/nowhere"})
    assert unset is not None
    assert gone is not None
    assert "has no such variable" in (unset.missing or "")
    assert "cannot be reached" in (gone.problem or "")
    assert look_at(replace(spec_of("app"), database=None)) is None


def examined(server: Path, user: str, group: str = "app") -> DatabaseState:
    found = look_at(spec_of(group), {"DB": f"host={server} user={user} dbname=postgres"})
    assert found is not None
    return found


def spec_of(group: str) -> ServiceSpec:
    return ServiceSpec(
        name="shop",
        instances=2,
        run=RunSpec(command=("shop",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
        database=DatabaseSpec(
            url="env:DB", connections=ConnectionsSpec(per_instance=3), roles=RolesSpec(group=group, prefix="shop")
        ),
    )


def test_examining_a_version_that_runs_takes_no_connections_from_it(connection: psycopg.Connection) -> None:
    make(connection)
    raise_limits(connection, "shop", key="k1", times=(20, 10))
    make(connection, replace(ROLE, connections=2))
    assert limit_of(connection) == 6
    take_limits_back(connection, "shop", key="k1")
    assert limit_of(connection) == 3
    make(connection, replace(ROLE, connections=None))
    make(connection, ROLE)
    assert limit_of(connection) == -1


def test_roles_of_another_project_with_a_service_of_the_same_name_are_left_alone(
    server: Path, connection: psycopg.Connection
) -> None:
    make(connection)
    make(connection, replace(ROLE, key="k2", version="7"), "staging_v7")
    assert raise_limits(connection, "shop", key="k2", times=(2, 1)) == ("staging_v7",)
    assert take_limits_back(connection, "shop", key="k1") == ()
    assert drop_roles(connection, "shop", key="k1", keep=frozenset({"1.4"})) == ()
    assert set(roles_of(connection)) == {NAME, "staging_v7"}
    before = limits_of(connection, service="shop", key="k2")[0].others
    with as_role(server):
        assert limits_of(connection, service="shop", key="k2")[0].others == before + 1
