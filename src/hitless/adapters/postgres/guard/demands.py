"""Who may need what is removed, and all that is known of what they send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hitless.adapters.postgres.guard.asked import Asked, Known
from hitless.adapters.postgres.guard.sessions import Session, Surroundings
from hitless.adapters.postgres.guard.statements import Sent
from hitless.schema.guard.decision import Block
from hitless.schema.guard.evidence import Evidence, Source, Statement
from hitless.schema.guard.manifests import Consumer


@dataclass(slots=True, kw_only=True)
class Demand:
    """Somebody who may need it.

    Attributes:
        roles: as whom it comes.
        sessions: that it has now.
        evidence: what is known of it.
    """

    name: str
    because: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    known: Known | None = None
    is_version: bool = False
    evidence: list[Evidence] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was looked at: the server itself first, then its standbys."""

    around: tuple[Surroundings, ...]
    sent: tuple[Sent, ...]

    @property
    def primary(self) -> Surroundings:
        """The server itself."""
        return self.around[0]


def demands_of(seen: Seen, asked: Asked) -> tuple[Demand, ...]:
    """Name everybody who may need it, with all evidence."""
    found: dict[str, Demand] = {}
    for one in asked.known or ():
        demand = found.setdefault(one.name, Demand(name=one.name, known=one, is_version=True))
        demand.because.append(one.because)
    for role, sessions in _roles(seen, asked).items():
        _place(found, seen, role, sessions, frozenset(one.service for one in asked.known or ()))
    for consumer in asked.consumers:
        # Nobody's word counts for a version, or for another consumer, by bearing its name.
        name = consumer.name if consumer.name not in found else f"consumer {consumer.name} of {consumer.owner}"
        demand = found.setdefault(name, Demand(name=name))
        demand.because.append(f"registered by {consumer.owner}")
        demand.evidence += [consumer.evidence(seen.primary.now), *_sent_by(consumer, seen)]
    for demand in found.values():
        _give_evidence(demand, seen, asked)
    return tuple(found.values())


def _sent_by(consumer: Consumer, seen: Seen) -> Iterator[Evidence]:
    """What is seen of it all the same: it can speak against its owner's word."""
    for role in consumer.roles:
        if statements := tuple(one for sent in seen.sent for one in sent.by_role.get(role, ())):
            origin = f"role {role} in pg_stat_statements"
            yield Evidence(
                source=Source.ROLE, origin=origin, statements=statements, lacks=("its owner answers for it",)
            )


def _roles(seen: Seen, asked: Asked) -> Mapping[str, list[Session]]:
    """Return every role that is connected, was seen to send something, or may use it, with its sessions."""
    declared = {role for one in asked.consumers for role in one.roles} - seen.primary.versions.keys()
    me = seen.primary.me
    found: dict[str, list[Session]] = {}
    for around in seen.around:
        for session in around.sessions:
            found.setdefault(session.role, []).append(session)
    for role in (*(one for sent in seen.sent for one in sent.by_role), *seen.primary.permitted):
        if role != me:
            found.setdefault(role, [])
    return {role: sessions for role, sessions in found.items() if role not in declared}


def _place(found: dict[str, Demand], seen: Seen, role: str, sessions: list[Session], services: frozenset[str]) -> None:
    version = seen.primary.versions.get(role)
    if version is None:
        demand = found.setdefault(f"role {role}", Demand(name=f"role {role}"))
        demand.because.append(_why(sessions) or "it may use the table, or was seen to send something")
    elif version.name in found or sessions or version.service not in services:
        demand = found.setdefault(version.name, Demand(name=version.name, is_version=True))
        if sessions:
            demand.because.append(f"{_why(sessions)} as {role}")
        elif not demand.because:  # its pool may be empty just now
            demand.because.append(
                f"it has the role {role}, and nobody has said which versions of {version.service} live"
            )
    else:
        return  # who says which versions of this service there are has left it out, and it is not connected
    demand.roles.append(role)
    demand.sessions += sessions
    if role == seen.primary.me:
        demand.evidence.append(
            Evidence(
                source=Source.ROLE,
                origin=f"role {role}",
                lacks=("it is the role of hitless itself, whose own statements cannot be told from others",),
            )
        )


def _why(sessions: Sequence[Session]) -> str:
    count = sum(one.count for one in sessions)
    names = ", ".join(sorted({one.application or "without a name" for one in sessions}))
    return f"{count} {'session' if count == 1 else 'sessions'} ({names})" if count else ""


def _give_evidence(demand: Demand, seen: Seen, asked: Asked) -> None:
    roles = [role for role in _roles_of(demand, seen) if role != seen.primary.me]
    demand.evidence += [_of_role(role, demand, seen, asked) for role in roles]
    manifests = [one for one in asked.manifests if demand.name == f"{one.service}@{one.version}"]
    digests = sorted({one.digest for one in manifests if one.digest is not None})
    differ = (f"manifests of it are of different artifacts: {', '.join(digests)}",) if len(digests) > 1 else ()
    for manifest in manifests:
        demand.evidence += [replace(one, lacks=(*one.lacks, *differ)) for one in manifest.evidence]


def _roles_of(demand: Demand, seen: Seen) -> list[str]:
    mapped = [role for role, one in seen.primary.versions.items() if one.name == demand.name]
    return list(dict.fromkeys([*demand.roles, *mapped]))


def _of_role(role: str, demand: Demand, seen: Seen, asked: Asked) -> Evidence:
    statements = tuple(one for sent in seen.sent for one in sent.by_role.get(role, ()))
    lacks = [*_of_servers(role, seen), *_of_window(role, demand, seen, asked)]
    if demand.is_version and not statements:
        lacks.append("it was seen to send nothing")
    return Evidence(
        source=Source.ROLE,
        origin=f"role {role} in pg_stat_statements",
        statements=statements,
        lacks=tuple(dict.fromkeys(lacks)),
        nested_seen=all(_nested_is_seen(one, role, demand, seen, asked) for one in seen.sent),
        since=max((one.since for one in seen.sent if one.since is not None), default=None),
    )


def _nested_is_seen(sent: Sent, role: str, demand: Demand, seen: Seen, asked: Asked) -> bool:
    """Tell whether what functions send was counted all the time, and not only since somebody has set it so."""
    if not sent.nested_seen or sent.since is None or sent.loaded_at is None:
        return False
    made_at = seen.primary.versions[role].made_at if role in seen.primary.versions else None
    was_set = sent.loaded_at <= max(sent.since, made_at or sent.since)
    is_gone = demand.is_version and not demand.sessions
    return was_set or (not is_gone and seen.primary.now - sent.loaded_at >= asked.window)


def _of_servers(role: str, seen: Seen) -> Iterator[str]:
    for sent in seen.sent:
        for why in (*sent.lacks, *sent.lacks_of.get(role, ())):
            yield f"{why} (on {sent.server})" if len(seen.sent) > 1 else why


def _of_window(role: str, demand: Demand, seen: Seen, asked: Asked) -> Iterator[str]:
    """Say why what was seen is too little: not since its begin, or not for long enough."""
    now = seen.primary.now
    since = max((one.since for one in seen.sent if one.since is not None), default=None)
    if since is None:
        yield "nobody knows since when statements are counted"
        return
    made_at = seen.primary.versions[role].made_at if role in seen.primary.versions else None
    served = _served(demand, made_at, now) if demand.is_version else now - since
    if served is None:
        yield "nobody knows how long it has served"
    elif served < asked.window:
        yield f"it was seen for {_span(served)}, and {_span(asked.window)} are asked for"
    is_gone = demand.is_version and not demand.sessions
    # A role may be written down later than it was made; who has served for longer than is counted was counted in part.
    if is_gone and (made_at is None or since > made_at or (served is not None and now - since < served)):
        yield "it does not run, and statements are not known to be counted since it began"
    elif now - since < asked.window and (made_at is None or since > made_at):
        yield f"statements are counted for {_span(now - since)}, and {_span(asked.window)} are asked for"


def _served(demand: Demand, made_at: datetime | None, now: datetime) -> timedelta | None:
    if demand.known is not None and demand.known.served is not None:
        return demand.known.served
    if not demand.sessions:
        return None
    return now - (made_at or min(one.oldest for one in demand.sessions))


def _span(one: timedelta) -> str:
    minutes = max(int(one.total_seconds()), 0) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"  # noqa: PLR2004 - minutes


def outside(seen: Seen, asked: Asked) -> tuple[Block, ...]:
    """Block for what is seen elsewhere: standbys, slots; and where nobody has said which versions there are."""
    return (*_of_versions(asked), *_of_standbys(seen, asked), *_of_slots(seen, asked), *_of_subscriptions(seen))


def _of_versions(asked: Asked) -> Iterator[Block]:
    if asked.known is None:
        yield Block(
            subject="versions",
            sentence="nobody has said which versions run, and which a rollback could bring back",
            remedies=(
                "run it where the control plane is (--project)",
                "or name them: --version shop@42=live --version shop@41=target",
            ),
        )


def _of_standbys(seen: Seen, asked: Asked) -> Iterator[Block]:
    declared = {name for one in asked.consumers for name in one.standbys}
    strangers = [one for around in seen.around for one in around.standbys if one not in declared]  # theirs too
    looked_at = {one.started_at for one in seen.around[1:] if one.is_standby}
    for name in strangers[len(looked_at) :]:
        yield Block(
            subject=f"standby {name}",
            sentence=f"the standby {name} may be read from, and what it is asked is not seen here",
            remedies=("name it, so that it is looked at too: --replica postgresql://standby/shop",),
        )


def _of_slots(seen: Seen, asked: Asked) -> Iterator[Block]:
    declared = {name for one in asked.consumers for name in one.slots}
    for name, kind in {name: kind for one in seen.around for name, kind in one.slots.items()}.items():
        if name not in declared:
            yield Block(
                subject=f"slot {name}",
                sentence=f"the replication slot {name} ({kind}) feeds somebody who may need it",
                remedies=("register who that is, and what it uses: --consumers consumers.yaml",),
            )


def _of_subscriptions(seen: Seen) -> Iterator[Block]:
    for name in seen.primary.subscriptions:
        yield Block(
            subject=f"subscription {name}",
            sentence=f"the subscription {name} writes the table, by names of columns that its publisher sends",
            remedies=("contract at the publisher first, or take the table out of its publication",),
        )


def statements_of(demands: Sequence[Demand]) -> tuple[Statement, ...]:
    """Return every statement once."""
    return tuple(dict.fromkeys(one for demand in demands for each in demand.evidence for one in each.statements))
