"""The file of registered consumers: who reads or writes a database beside the services that hitless releases."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from hitless.config.complaints import problems_of
from hitless.config.document import Document, read_document
from hitless.config.findings import Finding, shown_path
from hitless.config.section import Section
from hitless.config.values import Problem, bad
from hitless.errors import Place, UserError
from hitless.schema.guard.manifests import Consumer

EXAMPLE = """\
consumers:
  - name: nightly-report
    owner: data team
    expires: 2027-03-31
    roles: [reporting]          # or slots: [debezium], standbys: [reports-replica]
    uses: {users: [id, email]}  # columns by table; all = every column
"""


class ConsumersUnreadable(UserError):
    """The file of consumers, or a manifest, cannot be read or breaks the rules."""

    code = "HL4543"


class ConsumerSection(Section):
    """One consumer."""

    name: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    expires: date
    roles: list[str] = Field(default_factory=list)
    slots: list[str] = Field(default_factory=list)
    standbys: list[str] = Field(default_factory=list)
    uses: dict[str, list[str] | Literal["all"]]

    @field_validator("expires", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        """Take a day as text: a time of day would say nothing."""
        try:
            return date.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            raise bad(f"`{value}` is no day", "write it as 2027-03-31") from None


class ConsumersSection(Section):
    """The whole file."""

    consumers: list[ConsumerSection]


def read_consumers(path: Path) -> tuple[Consumer, ...]:
    """Read the registered consumers.

    Raises:
        ConsumersUnreadable: the file cannot be read, or breaks the rules.
    """
    name = shown_path(path)
    try:
        document = read_document(path.read_bytes().decode("utf-8-sig"), name=name)
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConsumersUnreadable(f"{name} cannot be read: {cause}", place=Place(name)) from None
    read = _read(document)
    if read is None or document.findings:
        raise _invalid(tuple(document.findings))
    return tuple(_consumer(one) for one in read.consumers)


def _read(document: Document) -> ConsumersSection | None:
    if not isinstance(document.value, dict):
        if not document.findings:
            document.add(Problem(message="the file must hold `consumers:`", hint="hitless explain HL4543"))
        return None
    try:
        return ConsumersSection.model_validate(document.value)
    except ValidationError as error:
        for problem in problems_of(error.errors(include_url=False)):
            document.add(problem)
    return None


def _invalid(findings: tuple[Finding, ...]) -> ConsumersUnreadable:
    first = findings[0]
    evidence = tuple(str(one) for one in findings) if len(findings) > 1 else ()
    hints = ((first.hint,) if first.hint else ()) + ("hitless explain HL4543   # what the file says",)
    return ConsumersUnreadable(first.message, place=first.place, evidence=evidence, hints=hints)


def _consumer(one: ConsumerSection) -> Consumer:
    return Consumer(
        name=one.name,
        owner=one.owner,
        expires_at=datetime.combine(one.expires, time(), UTC),
        roles=tuple(one.roles),
        slots=tuple(one.slots),
        standbys=tuple(one.standbys),
        uses={table: () if columns == "all" else tuple(columns) for table, columns in one.uses.items()},
    )
