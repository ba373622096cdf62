"""`hitless migrate lint` and `hitless migrate rules`. Need no project, no control plane and no database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from hitless.cli.faults import MigrationsRefused, MigrationsUnread, Usage
from hitless.cli.figures import count
from hitless.cli.migrations import STDIN, read_paths
from hitless.cli.outcome import DONE
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.errors import Place
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.linting import lint as judge
from hitless.schema.linting import read_schema
from hitless.schema.reading.source import decode
from hitless.schema.report import Report, Unread
from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Family, Settings, Severity
from hitless.view.github import workflow_commands
from hitless.view.lint import lint_view, rule_view
from hitless.view.rules import rule_page
from hitless.view.sarif import sarif
from hitless.view.schema_models import LintView

Format = Literal["text", "json", "sarif", "github"]
INDENT = "    "
STYLES = {"error": "bold red", "warning": "bold yellow"}


def lint(
    *paths: Annotated[str, Parameter(allow_leading_hyphen=True)],
    schema: Path | None = None,
    database: str | None = None,
    dialect: Literal["postgresql"] = "postgresql",  # noqa: ARG001 - there is one; scripts may say so already
    postgres: Literal[15, 16, 17, 18] = 15,
    in_transaction: bool = False,
    one_release: bool = False,
    enable: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    format: Format = "text",  # noqa: A002 - the option's name
    strict: bool = False,
    common: Common = DEFAULTS,
) -> int:
    """Judge migrations: what each statement locks, breaks or loses, and the safe way to write it.

    Args:
        paths: Files, folders, or - for stdin.
        schema: A dump of the schema before the first migration, as pg_dump --schema-only writes it.
        database: A database to read the schema, its sizes and its version of instead, by URL.
        dialect: The database's kind.
        postgres: The server's major version; the oldest that they must run on.
        in_transaction: Whoever runs the files runs each in one transaction.
        one_release: The files are what one release migrates, not a history of releases.
        enable: Rules that are off, by name.
        format: How findings are printed; json is --json.
        strict: Refuse warnings too.
        common: Options of every command.
    """
    _check(paths, enable)
    if schema and database:
        raise Usage("--schema and --database both say what is there", hints=("give one of them",))
    given = read_paths(paths)
    catalog, unread = read_schema(decode(str(schema), _dump(schema))) if schema else (None, ())
    if database:
        catalog, unread, postgres = _live(database)
    settings = Settings(
        postgres=postgres, in_transaction=in_transaction, chosen=frozenset(enable), one_release=one_release
    )
    report = judge(given.sources, catalog=catalog, settings=settings)
    report = replace(report, unread=(*given.unread, *unread, *report.unread))
    view = lint_view(report, postgres=postgres)
    _print(view, report, "json" if common.json else format, common.output)
    return _outcome(view, strict=strict)


def _check(paths: tuple[str, ...], enable: tuple[str, ...]) -> None:
    strangers = [one for one in paths if one.startswith("-") and one != STDIN]
    if strangers or not paths:
        what = f"Unknown option: {strangers[0]}" if strangers else "name files or folders, or - for stdin"
        raise Usage(what, hints=("hitless migrate lint --help",))
    unknown = [one for one in enable if one not in RULES]
    if unknown:
        raise Usage(f"no rule is called {unknown[0]}", hints=("hitless migrate rules",))


def _dump(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Usage(f"--schema {path}: {error.strerror}", hints=("pg_dump --schema-only DATABASE > FILE",)) from None


def _live(url: str) -> tuple[Catalog, tuple[Unread, ...], Literal[15, 16, 17, 18]]:
    """Read the schema of a database; a server that is newer than what is known counts as the newest known."""
    from hitless.adapters.postgres.database import Database  # noqa: PLC0415 - without a database, no driver is loaded
    from hitless.adapters.postgres.live import read_live  # noqa: PLC0415 - as above

    live = read_live(Database(url))
    known: Mapping[int, Literal[15, 16, 17, 18]] = {15: 15, 16: 16, 17: 17}
    return live.catalog, live.unread, known.get(live.postgres, 18)


def _print(view: LintView, report: Report, form: Format, output: Output) -> None:
    match form:
        case "json":
            output.document("lint", view)
        case "sarif":
            output.raw(json.dumps(sarif(view), ensure_ascii=False, indent=2))
        case "github":
            for line in workflow_commands(view):
                output.raw(line)
        case "text":
            _show(view, len(report.statements), output)


def _show(view: LintView, statements: int, output: Output) -> None:
    for place in view["unread"]:
        head = Text(f"{place['file']}:{place['line']}:{place['column']}: ").append("unreadable", STYLES["error"])
        output.console.print(head.append(f": {place['message']}"), soft_wrap=True)
    for one in view["findings"]:
        head = Text(f"{one['file']}:{one['line']}:{one['column']}: ").append(one["severity"], STYLES[one["severity"]])
        head.append(f" {one['rule']}: {one['message']}")
        output.console.print(head, soft_wrap=True)
        for line in one["fix"].splitlines():
            output.raw(f"{INDENT}{line}")
    output.raw(_summary(view, statements))


def _summary(view: LintView, statements: int) -> str:
    parts = [count(view["errors"], "error"), count(view["warnings"], "warning")]
    parts += [f"{len(view['allowed'])} allowed"] if view["allowed"] else []
    parts += [f"{len(view['unread'])} unreadable"] if view["unread"] else []
    return f"{count(len(view['files']), 'file')}, {count(statements, 'statement')}: {', '.join(parts)}"


def _outcome(view: LintView, *, strict: bool) -> int:
    """Return the exit code.

    Raises:
        MigrationsUnread: something could not be read.
        MigrationsRefused: something is refused.
    """
    if view["unread"]:
        first = view["unread"][0]
        files = sorted({one["file"] for one in view["unread"]})
        place = Place(first["file"], first["line"], first["column"])
        raise MigrationsUnread(files=files, place=place, why=first["message"])
    grave = [one for one in view["findings"] if one["severity"] == "error" or strict]
    if grave:
        rules = [one["rule"] for one in grave]
        named = next((one for one in rules if RULES[one].family is not Family.LINT), rules[0])  # which may be allowed
        raise MigrationsRefused(errors=view["errors"], warnings=view["warnings"], rule=named)
    return DONE


def rules(rule: str | None = None, /, *, common: Common = DEFAULTS) -> int:
    """List the rules of the lint, or explain one.

    Args:
        rule: Name of a rule; without it, all are listed.
        common: Options of every command.
    """
    output = common.output
    if rule is not None and rule not in RULES:
        raise Usage(f"no rule is called {rule}", hints=("hitless migrate rules",))
    chosen = [RULES[rule]] if rule else list(RULES.values())
    if common.json:
        output.document("lint-rules", [rule_view(one) for one in chosen])
    elif rule:
        output.raw(rule_page(RULES[rule]).rstrip())
    else:
        width = max(len(one.id) for one in chosen)
        for one in chosen:
            severity = "" if one.severity is Severity.ERROR else f" ({one.severity.value})"
            output.raw(f"{one.id:{width}}  {one.summary}{severity}")
    return DONE
