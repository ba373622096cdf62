"""Lints files as one history: each statement is judged by everything that is known before it.

The flow, per statement: read it; classify each of its actions by the catalogue; let every rule look; then apply the
action to the catalogue and to the session. A transaction that is rolled back leaves the catalogue as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Block
from hitless.schema.actions.session import Boundary, TransactionStep
from hitless.schema.allowances import Allowance, allowances_in, rows_in
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.catalog.changes import apply
from hitless.schema.effects.classify import effect_of
from hitless.schema.effects.effect import Effect, Phase, merged
from hitless.schema.reading.cutting import Comment
from hitless.schema.reading.script import Read, Remainder, Unreadable, read_script
from hitless.schema.reading.sections import begins_migration, included_files, runs_without_transaction, way_forward
from hitless.schema.reading.source import Source
from hitless.schema.reading.statement import Lines
from hitless.schema.report import Classified, Finding, Report, Unread
from hitless.schema.rules.meta import (
    ALLOWED_IN_VAIN,
    ALLOWED_UNKNOWN,
    ALLOWED_WITHOUT_REASON,
    FOREIGN_ENCODING,
    INCLUDED,
)
from hitless.schema.rules.registry import CONTRACTS, RULES
from hitless.schema.rules.rule import FileEnd, Rule, Settings, Severity, Step, Trouble, ground_of
from hitless.schema.session import Done, Session
from hitless.schema.sides import side_of

MOST_UNREAD = 10
"""Places told per file: what is no SQL at all has one on every line."""

_LONGEST_TEXT = 500
"""Characters of a statement that a report repeats."""


def lint(sources: Iterable[Source], *, catalog: Catalog | None = None, settings: Settings | None = None) -> Report:
    """Judge files in their order, each on top of those before it."""
    known, chosen = catalog or Catalog(), settings or Settings()
    rules = tuple(one for one in RULES.values() if one.severity is not Severity.OFF or one.id in chosen.chosen)
    parts: list[Report] = []
    earlier: list[tuple[str, Done]] = []
    for source in sources:
        run = _FileRun(source=source, settings=chosen, catalog=known.next_file(), rules=rules, earlier=tuple(earlier))
        parts.append(run.report())
        if chosen.one_release:
            earlier += [(source.name, one) for one in run.session.done if one.side is not None]
        known = run.catalog
    return _joined(parts)


def catalog_of(source: Source) -> Catalog:
    """Read a dump of a schema: what is there before the first file."""
    return read_schema(source)[0]


def read_schema(source: Source) -> tuple[Catalog, tuple[Unread, ...]]:
    """Read a dump of a schema, and say what in it cannot be read."""
    catalog, unread = Catalog(), []
    for one in read_script(source.text):
        if isinstance(one, Unreadable):
            unread.append(_unread(source, one))
            continue
        for table, rows in rows_in(one.statement.comments if isinstance(one, Read) else one.comments):
            catalog = catalog.with_rows(table, rows)
        for action in one.actions if isinstance(one, Read) else ():
            catalog = apply(catalog, action)
    return catalog, tuple(unread[:MOST_UNREAD])


def _unread(source: Source, one: Unreadable) -> Unread:
    return Unread(file=source.name, line=one.line, column=one.column, message=one.message)


def _joined(parts: list[Report]) -> Report:
    return Report(
        files=tuple(name for part in parts for name in part.files),
        findings=tuple(one for part in parts for one in part.findings),
        allowed=tuple(one for part in parts for one in part.allowed),
        statements=tuple(one for part in parts for one in part.statements),
        unread=tuple(one for part in parts for one in part.unread),
    )


@dataclass(slots=True, kw_only=True)
class _FileRun:
    """One file, from its first statement to its last.

    Attributes:
        at_begin: the catalogue when the open transaction began.
        told: rules and words of the statement that is judged.
        begun_with: number of the action that the migration began with; most files are one.
    """

    source: Source
    settings: Settings
    catalog: Catalog
    session: Session = field(default_factory=Session)
    at_begin: Catalog | None = None
    begun_with: int = 0
    found: list[Finding] = field(default_factory=list)
    told: set[tuple[str, str]] = field(default_factory=set)
    allowances: list[tuple[Allowance, int, int]] = field(default_factory=list)
    statements: list[Classified] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    lines: Lines = field(default_factory=lambda: Lines((0,)))
    rules: tuple[Rule, ...] = ()
    earlier: tuple[tuple[str, Done], ...] = ()

    def report(self) -> Report:
        """Judge the file."""
        text = way_forward(self.source.text)
        if self.settings.in_transaction and not runs_without_transaction(text):
            self.session = replace(self.session, in_block=True, is_wrapped=True)
        for one in read_script(text):
            match one:
                case Read():
                    self._take(one)
                case Unreadable() if len(self.unread) < MOST_UNREAD:
                    self.unread.append(_unread(self.source, one))
                case Remainder():
                    self.lines = one.lines
                    self._hear(one.comments, first_line=0, last_line=0)
        self._end()
        findings, allowed = self._settled()
        return Report(
            files=(self.source.name,),
            findings=tuple(sorted(findings, key=lambda one: (one.line, one.column))),
            allowed=tuple(sorted(allowed, key=lambda one: (one.line, one.column))),
            statements=tuple(self.statements),
            unread=tuple(self.unread),
        )

    def _take(self, one: Read) -> None:
        statement = one.statement
        self.lines = statement.lines
        if not self.settings.one_release and any(begins_migration(said.text) for said in statement.comments):
            self._begin_next()
        self._hear(statement.comments, first_line=statement.first_line, last_line=statement.last_line)
        self.told = set()
        self.session = self.session.next_statement()
        begun = self.session
        effects = [self._act(action, one, begun) for action in one.actions]
        line, column = statement.place()
        self.statements.append(
            Classified(
                file=self.source.name,
                line=line,
                column=column,
                last_line=statement.last_line,
                text=statement.text[:_LONGEST_TEXT],
                effect=merged(tuple(effects)),
            )
        )

    def _begin_next(self) -> None:
        """Take what follows for a migration of its own, which may be a release later, in whatever transaction."""
        self._judge_whole(replace(self.session, in_block=False))
        self.begun_with = len(self.session.done)
        self.catalog = self.catalog.next_file()

    def _act(self, action: Action, one: Read, begun: Session) -> Effect:
        """Let the rules look at an action, then take it."""
        effect = effect_of(action, ground_of(self.catalog, begun, self.settings))
        step = Step(
            action=action,
            effect=effect,
            statement=one.statement,
            siblings=one.actions,
            number=len(self.statements),
            before=self.catalog,
            session=begun if begun.has_waited else replace(begun, has_waited=self.session.has_waited),
            settings=self.settings,
        )
        line, column = one.statement.place(action.at)
        for rule in self.rules:
            if rule.on_action is not None:
                for trouble in rule.on_action(step):
                    self._find_once(rule, trouble, line, column, effect)
        if isinstance(action, Block):
            for inner in action.actions:
                self._act(inner, one, begun)
            return effect
        side = side_of(action, self.catalog)
        closed = tuple(
            lock.relation for lock in effect.locks if lock.mode.blocks_writes and step.is_in_use(lock.relation)
        )
        self._apply(action)
        done = Done(
            action=action,
            effect=effect,
            line=line,
            column=column,
            transaction=begun.transaction,
            in_block=begun.in_block,
            statement=len(self.statements),
            side=side,
        )
        self.session = self.session.taking(done, closed).after(action, line)
        return effect

    def _apply(self, action: Action) -> None:
        if isinstance(action, TransactionStep):
            if action.boundary is Boundary.BEGIN and not self.session.in_block:
                self.at_begin = self.catalog
            elif action.boundary is Boundary.ROLLBACK and self.at_begin is not None:
                self.catalog, self.at_begin = self.at_begin, None
        self.catalog = apply(self.catalog, action)

    def _find_once(self, rule: Rule, trouble: Trouble, line: int, column: int, effect: Effect) -> None:
        """Tell of a statement once what a rule says of several of its actions in the same words."""
        if (rule.id, trouble.message) not in self.told:
            self.told.add((rule.id, trouble.message))
            self._find(rule, trouble, line, column, effect)

    def _find(self, rule: Rule, trouble: Trouble, line: int, column: int, effect: Effect) -> None:
        severity = trouble.severity or rule.severity
        if rule.severity is Severity.OFF:
            severity = Severity.WARNING
        self.found.append(
            Finding(
                file=self.source.name,
                line=line,
                column=column,
                rule=rule.id,
                severity=severity,
                phase=effect.phase,
                lock=effect.strongest,
                message=trouble.message,
                fix=trouble.fix,
            )
        )

    def _judge_whole(self, session: Session) -> None:
        """Let the rules look at a migration as a whole."""
        session = replace(session, done=session.done.since(self.begun_with))
        end = FileEnd(session=session, catalog=self.catalog, settings=self.settings, earlier=self.earlier)
        for rule in self.rules:
            for trouble in rule.on_file(end) if rule.on_file else ():
                line, column = (trouble.at.line, trouble.at.column) if trouble.at else (1, 1)
                self._find(rule, trouble, line, column, trouble.at.effect if trouble.at else Effect())

    def _end(self) -> None:
        self._judge_whole(self.session)
        if self.source.foreign is not None:
            self._say(FOREIGN_ENCODING, 1, 1, f"neither UTF-8 nor marked; read as {self.source.foreign}")
        for offset, name in included_files(way_forward(self.source.text)):
            self._say(INCLUDED, *Lines.of(self.source.text).place(offset), f"{name} is included, and not read here")

    def _hear(self, comments: Iterable[Comment], *, first_line: int, last_line: int) -> None:
        """Take what comments say to the linter, for the statement of these lines."""
        heard = tuple(comments)
        for table, rows in rows_in(heard):
            self.catalog = self.catalog.with_rows(table, rows)
        for one in allowances_in(heard):
            line = self.lines.place(one.start)[0]
            behind = self.statements[-1] if self.statements else None
            if behind is not None and behind.last_line == line:
                self.allowances.append((one, behind.line, behind.last_line))  # at the end of the line before
            else:
                self.allowances.append((one, first_line, last_line))

    def _settled(self) -> tuple[list[Finding], list[Finding]]:
        """Part what was found into what stands and what is allowed."""
        open_findings, allowed = list(self.found), []
        for allowance, first, last in self.allowances:
            place = self.lines.place(allowance.start)
            said = set(allowance.rules)
            open_findings += [
                self._finding(ALLOWED_UNKNOWN, *place, f"no rule is called {rule}")
                for rule in sorted(said - RULES.keys())
            ]
            if not allowance.reason:
                message = f"{', '.join(allowance.rules)} allowed without a reason: nothing is allowed"
                open_findings.append(self._finding(ALLOWED_WITHOUT_REASON, *place, message))
                continue
            wanted = [{rule} for rule in sorted(said & RULES.keys())]
            for rules in [CONTRACTS] if allowance.is_contract else wanted:
                meant = [one for one in open_findings if one.rule in rules and first <= one.line <= last]
                if not meant:
                    is_contract = allowance.is_contract
                    message = "nothing here takes anything away" if is_contract else f"{min(rules)} finds nothing here"
                    open_findings.append(self._finding(ALLOWED_IN_VAIN, *place, message))
                allowed += [replace(one, reason=allowance.reason) for one in meant]
                open_findings = [one for one in open_findings if one not in meant]
        return open_findings, allowed

    def _say(self, rule: str, line: int, column: int, message: str) -> None:
        self.found.append(self._finding(rule, line, column, message))

    def _finding(self, rule: str, line: int, column: int, message: str) -> Finding:
        known = RULES[rule]
        return Finding(
            file=self.source.name,
            line=line,
            column=column,
            rule=rule,
            severity=known.severity,
            phase=Phase.NEUTRAL,
            lock=None,
            message=message,
            fix=f"-- {known.safe}",
        )
