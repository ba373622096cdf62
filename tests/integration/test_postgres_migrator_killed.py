"""Workers and servers that die at any moment: the next worker goes on, and nothing is left over that nobody names."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from migrator_stage import CHANGE, PLAN, SPEC, Stage, stage
from postgres_support import START_S, programs, running

from hitless.adapters.postgres.faults import ReadOnly
from hitless.adapters.postgres.leftovers import find_leftovers, take_away
from hitless.errors import EnvironmentFault
from hitless.schema.change.standing import Standing, Verb

VERSIONS = sorted({*programs(), 16, 18})
KILLS = int(os.environ.get("HITLESS_KILLS", "6"))
"""Per way and version; the long run takes 100."""
SEED = int(os.environ.get("HITLESS_SEED", "0")) or random.randrange(1_000_000)
NUMBERS = count()
WORKER = Path(__file__).with_name("migrator_worker.py")
LONGEST_S = 0.4
"""Within this a worker ends that nobody kills, on a quiet machine; later kills hit nothing."""


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Path]]:
    with running(request.param) as directory:
        yield request.param, directory


@pytest.fixture
def shop(server: tuple[int, Path]) -> Iterator[Stage]:
    with stage(*server, f"shop_{next(NUMBERS)}") as made:
        yield made


def worker(shop: Stage, way: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), shop.database.conninfo, CHANGE, way]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill_at_random(shop: Stage, way: str, chance: random.Random) -> None:
    process = worker(shop, way)
    go(process)
    time.sleep(chance.uniform(0, LONGEST_S))  # the moment is the subject
    process.kill()
    process.communicate()


def finish(shop: Stage, way: str) -> None:
    process = worker(shop, way)
    go(process)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 or "UnknownChange" in errors, errors


def test_a_change_that_is_killed_again_and_again_arrives_and_comes_back(shop: Stage) -> None:
    print(f"HITLESS_SEED={SEED}")
    chance = random.Random(SEED)
    before = shop.dump()
    shop.migrator().register(SPEC, PLAN)
    for _ in range(KILLS):
        kill_at_random(shop, "forward", chance)
    finish(shop, "forward")
    state = shop.migrator().state(CHANGE)
    assert state.standing is Standing.SWITCHED
    assert set(state.done) == {step.id for step in PLAN.steps}
    with shop.connect() as connection:
        assert find_leftovers(connection) == ()
    for _ in range(KILLS):
        kill_at_random(shop, "back", chance)
    finish(shop, "back")
    assert shop.dump() == before


def restart(directory: Path) -> subprocess.Popen[bytes]:
    """End a server at once, as a crash does, and start it again."""
    lines = (directory / "data/postmaster.pid").read_text().splitlines()
    pid = int(lines[0])
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    owner = Path(f"/proc/{pid}").stat().st_uid
    os.kill(pid, signal.SIGQUIT)
    deadline_s = time.monotonic() + START_S
    while (directory / "data/postmaster.pid").exists() and _lives(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    user = owner if os.geteuid() == 0 else None
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, user=user, group=user, cwd=directory)


def _lives(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(shop: Stage) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            shop.connect().close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_dies_in_the_middle_leaves_a_change_that_goes_on(version: int) -> None:
    print(f"HITLESS_SEED={SEED}")
    chance = random.Random(SEED)
    servers: list[subprocess.Popen[bytes]] = []
    with running(version) as directory:
        try:
            with stage(version, directory, "shop") as shop:
                before = shop.dump()
                shop.migrator().register(SPEC, PLAN)
                for way in ("forward", "back", "back"):
                    die_and_go_on(shop, way, chance, servers)
                finish(shop, "back")
                assert shop.dump() == before
        finally:
            servers[-1].send_signal(signal.SIGINT)
            for one in servers:
                one.wait(START_S)


def die_and_go_on(shop: Stage, way: str, chance: random.Random, servers: list[subprocess.Popen[bytes]]) -> None:
    process = worker(shop, way)
    go(process)
    time.sleep(chance.uniform(0, LONGEST_S))
    servers.append(restart(shop.directory))
    _, errors = process.communicate(timeout=60)
    wait_for(shop)
    assert process.returncode == 0 or _is_said_plainly(errors), errors
    if way == "forward":
        finish(shop, way)


def _is_said_plainly(errors: str) -> bool:
    """The last line names an error of ours, not of the driver."""
    return errors.splitlines()[-1].startswith("hitless.")


def test_an_index_left_half_built_is_named_and_taken_away(shop: Stage) -> None:
    with shop.connect() as connection:
        connection.execute("SET statement_timeout = '200ms'")
        with psycopg.connect(host=str(shop.directory), user="postgres", dbname=shop.name) as other:
            other.execute("UPDATE users SET name = name WHERE id = 1")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("CREATE INDEX CONCURRENTLY users_address_idx_ccnew ON users (email)")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("CREATE INDEX CONCURRENTLY theirs ON users (email)")
        connection.execute("SET statement_timeout = 0")
        ours, theirs = sorted(find_leftovers(connection), key=lambda one: not one.can_be_fixed)
        assert ours.name == "public.users_address_idx_ccnew"
        assert (theirs.name, theirs.remedy) == ("public.theirs", "DROP INDEX CONCURRENTLY public.theirs")
        assert take_away(connection, (ours, theirs)) == (ours,)
        assert find_leftovers(connection) == (theirs,)


def test_what_no_change_accounts_for_is_named_and_kept(shop: Stage) -> None:
    shop.migrator().register(SPEC, PLAN)
    shop.migrator().carry_out(CHANGE, Verb.EXPAND)
    with shop.connect() as connection:
        assert find_leftovers(connection) == ()
        connection.execute("ALTER TABLE users ADD COLUMN hitless_email text")
        connection.execute("DELETE FROM hitless.change")
        found = find_leftovers(connection)
        assert [one.kind for one in found] == ["trigger", "column", "function", "schema"]
        assert take_away(connection, found) == ()
        assert len(find_leftovers(connection)) == 4


def test_a_server_that_takes_no_more_sessions_is_said_plainly(shop: Stage) -> None:
    sessions: list[psycopg.Connection] = []
    try:
        while len(sessions) < 100:
            try:
                sessions.append(shop.connect())
            except psycopg.OperationalError:
                break
        with pytest.raises(EnvironmentFault) as refused:
            shop.migrator().register(SPEC, PLAN)
        assert "too many clients" in refused.value.message
        assert refused.value.code == "HL6501"
    finally:
        for one in sessions:
            one.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_standby_is_looked_at_and_never_written_to(version: int) -> None:
    servers: list[subprocess.Popen[bytes]] = []
    with running(version) as directory:
        try:
            with stage(version, directory, "shop") as shop:
                shop.migrator().register(SPEC, PLAN)
                signal_file = directory / "data/standby.signal"
                signal_file.touch()
                servers.append(restart(directory))
                wait_for(shop)
                assert shop.migrator().state(CHANGE).standing is Standing.PLANNED
                for act in (lambda: shop.migrator().register(SPEC, PLAN), lambda: shop.migrator().undo(CHANGE)):
                    with pytest.raises(ReadOnly):
                        act()
                signal_file.unlink()
                servers.append(restart(directory))
                wait_for(shop)
        finally:
            servers[-1].send_signal(signal.SIGINT)
            for one in servers:
                one.wait(START_S)
