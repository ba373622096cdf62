"""What evidence says of one version: CLEAR, REFERENCES or UNKNOWN.

The order is the safety argument. One use that is shown decides, whatever else is lacking: REFERENCES. One statement
that nobody can judge, or no evidence that shows absence: UNKNOWN. Only what is left is CLEAR.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hitless.schema.guard.evidence import Evidence, Source, Statement


class Verdict(StrEnum):
    """What is known of a use."""

    CLEAR = "clear"
    REFERENCES = "references"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server says of one statement.

    Attributes:
        ways: how it uses what is removed, in words; none unless `verdict` is REFERENCES.
        doubt: why it cannot be told; None unless `verdict` is UNKNOWN.
    """

    verdict: Verdict
    ways: tuple[str, ...] = ()
    doubt: str | None = None


CLEAR = Answer(verdict=Verdict.CLEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use that is shown."""

    way: str
    source: Source
    origin: str
    statement: str | None = None
    calls: int | None = None
    last_seen: datetime | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One reason why nobody can tell."""

    reason: str
    statement: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One version, or one consumer, judged.

    Attributes:
        name: `shop@41`, or the consumer's name.
        because: why it counts: what runs, what may come back, who is registered.
    """

    name: str
    because: tuple[str, ...]
    verdict: Verdict
    uses: tuple[Use, ...]
    doubts: tuple[Doubt, ...]
    evidence: tuple[Evidence, ...]


def judge(
    name: str,
    *,
    because: tuple[str, ...],
    evidence: Sequence[Evidence],
    answers: Mapping[Statement, Answer],
    mapped: Mapping[tuple[str, str], str],
) -> Judged:
    """Judge one version.

    Args:
        name: as in `Judged`.
        because: as in `Judged`.
        evidence: of this version.
        answers: of every statement in it; one that has none is in doubt.
        mapped: what is removed, as `(table, column)` of a model -> in words; column `*` = any.
    """
    uses = tuple(use for one in evidence for use in _uses(one, answers, mapped))
    doubts = (*_of_statements(evidence, answers), *_of_coverage(evidence))
    verdict = Verdict.REFERENCES if uses else Verdict.UNKNOWN if doubts else Verdict.CLEAR
    return Judged(name=name, because=because, verdict=verdict, uses=uses, doubts=doubts, evidence=tuple(evidence))


def _uses(one: Evidence, answers: Mapping[Statement, Answer], mapped: Mapping[tuple[str, str], str]) -> Iterable[Use]:
    for statement in one.statements:
        answer = answers.get(statement)
        for way in answer.ways if answer is not None else ():
            yield Use(
                way=way,
                source=one.source,
                origin=one.origin,
                statement=statement.text,
                calls=statement.calls,
                last_seen=statement.last_seen,
                place=statement.place,
            )
    for model in one.mapped:
        for column in model.columns or ("*",):
            if (what := mapped.get((model.table, column))) is not None:
                yield Use(way=f"maps {what}", source=one.source, origin=one.origin, place=model.place)


def _of_statements(evidence: Sequence[Evidence], answers: Mapping[Statement, Answer]) -> Iterable[Doubt]:
    for one in evidence:
        for statement in one.statements:
            answer = answers.get(statement)
            if answer is None or answer.verdict is Verdict.UNKNOWN:
                reason = (answer.doubt if answer is not None else None) or "nobody has judged it"
                yield Doubt(reason=reason, statement=statement.text, place=statement.place)


def _of_coverage(evidence: Sequence[Evidence]) -> Iterable[Doubt]:
    """One evidence that shows absence is enough; otherwise say what each lacks."""
    if any(one.shows_absence for one in evidence):
        return
    if not evidence:
        yield Doubt(reason="nobody knows what it sends")
    for one in evidence:
        reasons = one.lacks or ("it shows what is used, and never that something is not",)
        for reason in reasons:
            yield Doubt(reason=f"{one.origin}: {reason}")
