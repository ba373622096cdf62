"""The page `docs/reference/change-file.md`, made from the models of a change file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic.fields import FieldInfo

from hitless.config.catalogue import as_yaml
from hitless.config.change_models import ENTRIES, ChangeSection, Part
from hitless.config.section import Section

_HEAD = """\
# Change files

Everything that a file such as `changes/split-full-name.yaml` may hold. Generated from the code by `make docs`. How to
write one: [Write a change](../how-to/change.md).

A file is one change of one table, and may want several things of it. It is YAML 1.2; a key that is not listed here is
an error. Names of columns are written as they are, without quotes of SQL; their case counts. *SQL* is an expression
over columns of the row: no subquery, no aggregate, and nothing that gives another value each time (`fill` and `default`
may). Text in SQL stands in single quotes, so in YAML: `"'free'"`.
"""
_SHAPES = {
    "rename": "mapping: OLD: NEW",
    "check": "mapping: NAME: SQL",
    "primary_key": "mapping: COLUMN: TYPE",
    "type": "mapping: COLUMN: TYPE, or a section",
    "not_null": "mapping: COLUMN: SQL, or a section",
    "drop": "list of columns; mapping: COLUMN: section; or `table`",
    "add": "mapping: COLUMN: TYPE, or a section",
    "index": "mapping: NAME: list of columns, or a section",
    "unique": "mapping: NAME: list of columns, or a section",
    "foreign_key": "mapping: NAME: section",
    "enum": "mapping: TYPE: section",
    "split": "section, or a list of them",
    "move": "section",
    "verify": "section",
}


def change_reference() -> str:
    """Return the page."""
    tops = _table(_row(name, field, _SHAPES.get(name, "text")) for name, field in ChangeSection.model_fields.items())
    return "\n".join([_HEAD, "## The change\n", tops, *(_section(name, one) for name, one in ENTRIES.items())])


def _section(name: str, model: type[Section]) -> str:
    rows = [_row(field.alias or key, field) for key, field in model.model_fields.items()]
    if model is ENTRIES["split"]:
        rows += [_row(f"into.NAME.{field.alias or key}", field) for key, field in Part.model_fields.items()]
    summary = (model.__doc__ or "").strip().partition("\n")[0]
    return f"## `{name}`\n\n{summary}\n\n{_table(iter(rows))}"


def _table(rows: Iterator[str]) -> str:
    return "".join(f"{one}\n" for one in ("| key | default | meaning |", "| --- | --- | --- |", *rows))


def _row(name: str, field: FieldInfo, shape: str = "") -> str:
    meaning = f"{field.description or ''} Written as {shape}." if shape and shape != "text" else field.description or ""
    example = f" Example: `{as_yaml(field.examples[0])}`." if field.examples else ""
    return f"| `{name}` | {_default(field)} | {(meaning + example).replace('|', chr(92) + '|')} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    return f"`{as_yaml(value)}`" if field.default_factory is None and value not in (None, [], {}) else ""
