"""The users' databases as rollouts need them: `hitless.ports.Schemas` on PostgreSQL.

What talks to a server blocks, and may hang with it: each call has a thread of its own, which nothing waits for at the
end of the process. A worker is told to stop by an event, and stops where nothing is half done; the next one for the
same database waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

import psycopg
from psycopg import errors

from hitless.adapters.postgres.addresses import UrlMissing, UrlWrong, beside, resolve, url_for
from hitless.adapters.postgres.connections import limits_of
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.faults import in_words, said
from hitless.adapters.postgres.passwords import KEY_FILE, RoleKey
from hitless.adapters.postgres.release import carry_out, states_of
from hitless.adapters.postgres.remembered import RememberedAddresses
from hitless.adapters.postgres.roles import copy_to_table, drop_roles, make_role, raise_limits, take_limits_back
from hitless.errors import EnvironmentFault
from hitless.rollout.spec import ChangeSpec, ConnectionsSpec, DatabaseSpec, RunSpec, ServiceSpec, Version
from hitless.schema.change.standing import Standing
from hitless.schema.headroom import Fit, Limit, Reserve, Taker, fit
from hitless.schema.release import NeededChange
from hitless.schema.roles import VersionRole, role_name

STOPS_WITHIN_S = 15.0
"""So long the end of a worker that was told to stop is waited for: a batch takes 0.1 s, a lock 0.1 s, a connection 5 s.
One that hangs longer is fenced off by the next one."""

_LOCKED = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled, errors.SerializationFailure)
_MEANWHILE = (
    *_LOCKED,
    errors.DuplicateObject,  # somebody has made the same role between our look and our statement
    errors.UniqueViolation,  # the same, seen a moment earlier
    errors.InternalError_,  # `tuple concurrently updated`: two alter one role
)

READS_WITHIN_S = 0.5
"""The file with the address, read while an instance is ordered: a mount that hangs must not hold up the loop."""

Answer = TypeVar("Answer")
log = logging.getLogger("hitless")


class DatabaseBusy(EnvironmentFault):
    """Somebody else changes the same thing at this moment, or holds a lock on it."""

    code = "HL4555"


class KeyMissing(EnvironmentFault):
    """The key is gone that passwords of versions' roles were derived from."""

    code = "HL4556"


class DatabaseSchemas:
    """All databases that a project names."""

    def __init__(self, directory: Path, *, actor: str, environment: Mapping[str, str] | None = None) -> None:
        """Prepare; nothing is read or asked yet.

        Args:
            directory: the state directory, beside hitless.yaml; the key of passwords is there.
            actor: who changes schemas, as the databases remember it.
            environment: where `env:NAME` is looked up; None = that of this process.
        """
        self._project = directory.parent
        self._key = RoleKey(directory)
        self._remembered = RememberedAddresses(directory)
        self._actor = actor
        self._environment = os.environ if environment is None else environment
        self._working: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def key(self) -> str:
        """Fingerprint of the key that this project's roles have their passwords from."""
        return self._key.fingerprint

    def dress(self, spec: ServiceSpec, version: Version) -> RunSpec:
        """Return how an instance of a version is started: with the URL of its own role, where versions have one.

        The variable that `database.url` names is emptied then: the owner's password is none of an application's
        business, and with it no statement would tell which version sent it.
        """
        roles = spec.database.roles if spec.database is not None else None
        if spec.database is None or roles is None:
            return spec.run
        role = role_name(roles.prefix, version)
        self._refuse_another_key(spec.name, role)
        password = self._key.password(service=spec.name, role=role)
        url = url_for(self._address(spec.name, spec.database), role=role, password=password)
        return replace(spec.run, environment={**_emptied(spec.database), **spec.run.environment, roles.variable: url})

    def _refuse_another_key(self, service: str, role: str) -> None:
        """Refuse to make a key anew for a role that has its password from the one before: nobody could log in."""
        if not self._key.is_there and self._remembered.of(service) is not None:
            raise KeyMissing(
                f"{service}: the password of {role} was derived from {KEY_FILE}, which is gone",
                evidence=("instances that run are connected and stay; no other can log in",),
                hints=(f"put {KEY_FILE} back into .hitless", "or deploy another version: it gets a key of its own"),
            )

    def _address(self, service: str, wish: DatabaseSpec) -> str:
        """Return where the database is; who has lost what says so, or has it garbled, still knows where it was."""
        try:
            return soon(partial(self._conninfo, wish), place=wish.url)
        except (UrlMissing, UrlWrong):
            known = self._remembered.of(service)
            if known is None:
                raise
            return known

    def connect(self, spec: ServiceSpec) -> psycopg.Connection:
        """Open a session with a service's database.

        Raises:
            HitlessError: it cannot be opened.
        """
        return self._database(_wish(spec)).connect()

    async def fits(self, *, spec: ServiceSpec, takers: Sequence[Taker]) -> tuple[Fit, ...]:
        """Measure the limits, and hold what is taken against them."""
        return await in_thread(partial(self._fits, spec, tuple(takers)))

    def _fits(self, spec: ServiceSpec, takers: tuple[Taker, ...]) -> tuple[Fit, ...]:
        wish = _wish(spec)
        assert wish.connections is not None
        database = self._database(wish)
        key = self.key if wish.roles is not None else ""
        with database.connect() as connection, asked(database):
            limits = _limits(connection, spec.name, wish, wish.connections, takers, key=key)
        return fit(takers, limits, reserve=_reserve(wish.connections))

    async def make_role(self, *, spec: ServiceSpec, version: Version, connections: int | None) -> str:
        """Make the version's role."""
        return await in_thread(partial(self._make_role, spec, version, connections))

    def _make_role(self, spec: ServiceSpec, version: Version, connections: int | None) -> str:
        wish = _wish(spec)
        assert wish.roles is not None
        name = role_name(wish.roles.prefix, version)
        wanted = VersionRole(service=spec.name, version=version, key=self._key.fingerprint, connections=connections)
        password = self._key.password(service=spec.name, role=name)
        database = self._database(wish)
        with database.connect() as connection, asked(database):
            make_role(connection, name, wanted, group=wish.roles.group, password=password)
            self._remembered.keep(spec.name, database.conninfo)
            copy_to_table(connection, spec.name)
        return name

    async def bring(
        self, *, spec: ServiceSpec, change: ChangeSpec, standing: Standing, tell: Callable[[str], None]
    ) -> NeededChange:
        """Carry a change out in a thread; when cancelled, have it stop, and wait for that."""
        # off the loop's thread: the place of the URL may be a file on a mount that hangs
        database = await in_thread(partial(self._database, _wish(spec)))
        stopping, loop = Event(), asyncio.get_running_loop()

        def told(words: str) -> None:
            loop.call_soon_threadsafe(tell, words)

        async with self._working[database.conninfo]:
            wanted = replace(change, standing=standing, file=str(self._project / change.file))
            bringing = partial(carry_out, database, wanted, standing, actor=self._actor, tell=told, stopping=stopping)
            work = partial(self._with_roles_noted, spec, partial(self._with_wider_pools, spec, wanted, bringing, told))
            answer = asyncio.ensure_future(in_thread(partial(_asked_all_along, database, work)))
            try:
                return await asyncio.shield(answer)
            except asyncio.CancelledError:
                stopping.set()
                await _end_of(answer)
                raise

    def _with_roles_noted(self, spec: ServiceSpec, bringing: Callable[[], NeededChange]) -> NeededChange:
        """Note in the house, which the first change makes, whose role is whose."""
        found, wish = bringing(), _wish(spec)
        if wish.roles is not None:
            database = self._database(wish)
            with database.connect() as connection, asked(database):
                copy_to_table(connection, spec.name)
        return found

    def _with_wider_pools(
        self, spec: ServiceSpec, change: ChangeSpec, bringing: Callable[[], NeededChange], tell: Callable[[str], None]
    ) -> NeededChange:
        """Let versions open more connections while a change is carried out, where that is set."""
        pool, database = _wish(spec).connections, self._database(_wish(spec))
        if pool is None or pool.during_migration is None or states_of(database, (change,))[0].is_reached:
            return bringing()
        with database.connect() as connection, asked(database):
            raised = raise_limits(connection, spec.name, key=self.key, times=(pool.during_migration, pool.per_instance))
        if raised:
            tell(f"until {change.name} is {change.standing}, an instance may open {pool.during_migration} connections")
        try:
            return bringing()
        finally:
            with database.connect() as connection, asked(database):
                take_limits_back(connection, spec.name, key=self.key)

    async def states(self, spec: ServiceSpec) -> tuple[NeededChange, ...]:
        """Say where each change stands."""
        wish = _wish(spec)
        return await in_thread(partial(states_of, self._database(wish), wish.changes))

    async def keep_roles(self, *, spec: ServiceSpec, versions: frozenset[Version]) -> tuple[str, ...]:
        """Drop the roles of other versions, and take back limits that somebody has raised and left."""
        return await in_thread(partial(self._keep_roles, spec, versions))

    def _keep_roles(self, spec: ServiceSpec, versions: frozenset[Version]) -> tuple[str, ...]:
        database = self._database(_wish(spec))
        with database.connect() as connection, asked(database):
            take_limits_back(connection, spec.name, key=self.key)
            kept = drop_roles(connection, spec.name, key=self.key, keep=frozenset(versions))
            copy_to_table(connection, spec.name)
            return kept

    def _database(self, wish: DatabaseSpec) -> Database:
        return Database(self._conninfo(wish))

    def _conninfo(self, wish: DatabaseSpec) -> str:
        return resolve(beside(wish.url, self._project), self._environment)


def _wish(spec: ServiceSpec) -> DatabaseSpec:
    assert spec.database is not None, "asked for the database of a service that names none"
    return spec.database


def _emptied(wish: DatabaseSpec) -> dict[str, str]:
    kind, _, variable = wish.url.partition(":")
    return {variable: ""} if kind == "env" else {}


@contextmanager
def asked(database: Database, passing: tuple[type[psycopg.Error], ...] = _MEANWHILE) -> Iterator[None]:
    """Tell what the server refuses in words; what passes by itself, as what may be asked again.

    Raises:
        DatabaseBusy: somebody else is in the way at this moment.
        HitlessError: see `in_words`.
    """
    with in_words(database):
        try:
            yield
        except passing as error:
            raise DatabaseBusy(f"{database.shown}: somebody else is in the way: {said(error)}") from error


def _asked_all_along(database: Database, work: Callable[[], Answer]) -> Answer:
    with asked(database, _LOCKED):
        return work()


def _limits(
    connection: psycopg.Connection,
    service: str,
    wish: DatabaseSpec,
    pool: ConnectionsSpec,
    takers: tuple[Taker, ...],
    *,
    key: str,
) -> tuple[Limit, ...]:
    if wish.roles is not None:
        jobs = sum(one.connections for one in takers if not one.is_of_instances)
        return limits_of(connection, service=service, key=key, role=pool.role, allowed=jobs)
    allowed = sum(one.connections for one in takers)
    role = pool.role or connection.info.user
    return limits_of(connection, service=service, role=role, allowed=allowed, is_shared=True)


def _reserve(pool: ConnectionsSpec) -> Reserve:
    return Reserve(count=pool.reserve.count, share_bp=pool.reserve.share_bp)


async def _end_of(answer: asyncio.Future[NeededChange]) -> None:
    answer.add_done_callback(_forget)
    done, _ = await asyncio.wait({answer}, timeout=STOPS_WITHIN_S)
    if not done:
        log.warning("a worker of a migration does not stop within %g s; the next one fences it off", STOPS_WITHIN_S)


def _forget(answer: asyncio.Future[NeededChange]) -> None:
    """Take note of how a worker ended: that is in the database, and nobody waits for it here."""
    if not answer.cancelled():
        answer.exception()


def soon(work: Callable[[], Answer], *, place: str) -> Answer:
    """Do what should take no time, in a thread that is left behind where it does.

    Raises:
        UrlMissing: it takes longer.
    """
    found: Queue[Answer | BaseException] = Queue()

    def run() -> None:
        try:
            found.put(work())
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            found.put(error)

    Thread(target=run, name="hitless-address", daemon=True).start()
    try:
        answer = found.get(timeout=READS_WITHIN_S)
    except Empty:
        raise UrlMissing(f"`database.url` is {place}, which does not answer within {READS_WITHIN_S:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def in_thread(work: Callable[[], Answer]) -> Answer:
    """Do what blocks in a thread of its own, which nobody waits for at the end of the process."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()

    def settle(found: Answer | None, fault: BaseException | None) -> None:
        if answer.done():
            return
        if fault is not None:
            answer.set_exception(fault)
        else:
            answer.set_result(found)  # type: ignore[arg-type]  # None only where the work returns it

    def run() -> None:
        try:
            found, fault = work(), None
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits
            found, fault = None, error
        try:
            loop.call_soon_threadsafe(settle, found, fault)
        except RuntimeError:  # the loop has ended; so does the process
            log.debug("nobody waits for a database any more")

    Thread(target=run, name="hitless-database", daemon=True).start()
    return await answer
