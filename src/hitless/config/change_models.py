"""A change file as models: what `changes/*.yaml` may say, and what is said of each key in the reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hitless.config.section import Section, section, setting
from hitless.config.values import bad, shown
from hitless.schema.change.expressions import BadExpressionError, read_expression, read_type
from hitless.schema.change.intent import LONGEST_NAME
from hitless.schema.names import Name

_CHANGE = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PART = re.compile(r'"((?:[^"]|"")+)"|([^."\s]+)')
_NAME = re.compile(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))?")
_IDENTIFIER = re.compile(r"[^\0]+")


def _scalar(value: object) -> object:
    """Take numbers and truth values for the SQL that they are."""
    if isinstance(value, bool):
        return str(value).lower()
    return getattr(value, "source", str(value)) if isinstance(value, int | float) else value


def _expression(text: str) -> str:
    return _read(text, may_vary=False)


def _any_expression(text: str) -> str:
    return _read(text, may_vary=True)


def _read(text: str, *, may_vary: bool) -> str:
    try:
        return read_expression(text, may_vary=may_vary).text
    except BadExpressionError as error:
        where = f", at {shown(text[error.offset :])}" if error.offset and text[error.offset :].strip() else ""
        raise bad(f"{error.message}{where}", error.hint or _quoting(text)) from None


def _quoting(text: str) -> str | None:
    return "text in SQL stands in single quotes: \"'...'\"" if text.isalpha() else None


def _type(text: str) -> str:
    try:
        read_type(text)
    except BadExpressionError as error:
        raise bad(error.message, "write it as in CREATE TABLE: `bigint`, `numeric(10, 2)`, `app.mood`") from None
    return text


def _change_name(name: str) -> str:
    if not _CHANGE.fullmatch(name):
        raise bad(f"{shown(name)} is no name for a change", "lower case letters, digits, `-` and `_`: split-full-name")
    if len(name) > LONGEST_NAME:
        raise bad(f"the name has {len(name)} characters", f"at most {LONGEST_NAME}: triggers are called after it")
    return name


def read_name(text: str) -> Name:
    """Read the name of a table or type: `orders`, `shop.orders`, `"Shop"."order.lines"`; case counts.

    Raises:
        BadValueError: it is none.
    """
    if not _NAME.fullmatch(text):
        raise bad(f"{shown(text)} is no name of a table", "write `orders` or `shop.orders`")
    parts = [inner.replace('""', '"') if inner else plain for inner, plain in _PART.findall(text)]
    return Name(parts[-1], parts[0] if len(parts) > 1 else None)


def _name(text: str) -> str:
    read_name(text)
    return text


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _key(name: str) -> Any:
    """Let a section be written as the one value that it needs."""

    def wrap(value: object) -> object:
        return value if isinstance(value, dict | None) else {name: value}

    return BeforeValidator(wrap)


Sql = Annotated[str, BeforeValidator(_scalar), AfterValidator(_expression)]
AnySql = Annotated[str, BeforeValidator(_scalar), AfterValidator(_any_expression)]
SqlTypeText = Annotated[str, AfterValidator(_type)]
Identifier = Annotated[str, BeforeValidator(_scalar), Field(min_length=1)]
Columns = Annotated[list[Identifier], BeforeValidator(_one_or_more), Field(min_length=1)]
TableName = Annotated[str, AfterValidator(_name)]


class Part(Section):
    """One new column of a split."""

    as_: Sql = setting("Its value, from the old columns.", alias="as", example="split_part(full_name, ' ', 1)")
    type: SqlTypeText = setting("Its type.", default="text", example="text")


class SplitSection(Section):
    """Columns that become other columns."""

    from_: Columns = setting("The old column, or a list of them.", alias="from", example="full_name")
    into: Annotated[dict[Identifier, Annotated[Part, _key("as")]], Field(min_length=1)] = setting(
        "Each new column: its value as SQL, or `{as: SQL, type: TYPE}`.",
        example={"first_name": "split_part(full_name, ' ', 1)"},
    )
    inverse: Sql | dict[Identifier, Sql] = setting(
        "The old value, from the new columns; with several old columns, one for each.",
        example="concat_ws(' ', first_name, last_name)",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> SplitSection:
        if isinstance(self.inverse, str):
            if len(self.from_) > 1:
                raise bad("`inverse` must say each old column", f"inverse: {{{self.from_[0]}: ..., ...}}")
        elif set(self.inverse) != set(self.from_):
            raise bad("`inverse` and `from` name other columns", f"one of each: {', '.join(self.from_)}")
        return self


class TypeSection(Section):
    """A column that gets another type."""

    to: SqlTypeText = setting("The new type.", example="bigint")
    from_: SqlTypeText | None = setting("The type that it has, where no schema is shown.", alias="from", default=None)
    using: Sql | None = setting("The new value, where a cast will not do.", default=None, example="x::bigint")
    inverse: Sql | None = setting("The old value, from the new one, by the column's name.", default=None)
    as_: Identifier | None = setting("Another name: then nothing is swapped.", alias="as", default=None)


class NotNullSection(Section):
    """A column that will never be NULL."""

    fill: AnySql = setting("What stands in for NULL.", example="''")


class DropSection(Section):
    """A column that goes."""

    default: AnySql | None = setting("What rows get once new code does not write it.", default=None, example="false")


class AddSection(Section):
    """A new column."""

    type: SqlTypeText = setting("Its type.", example="text")
    default: AnySql | None = setting("What rows get that do not name it.", default=None, example="'free'")
    fill: AnySql | None = setting("What rows that are there get, and what stands in for NULL.", default=None)
    not_null: bool = setting("It is never NULL.", default=False)


class MoveSection(Section):
    """Columns that go to another table."""

    columns: Columns | dict[Identifier, Identifier] = setting("Which; `{old: new}` renames them.", example=["bio"])
    to: TableName = setting("The other table.", example="profiles")
    key: dict[Identifier, Identifier] = setting(
        "Columns here to those there that they equal.", example={"id": "user_id"}
    )


class IndexSection(Section):
    """An index."""

    columns: Columns = setting("Columns, or expressions in parentheses.", example=["customer_id", "(lower(email))"])
    unique: bool = setting("No two rows have the same.", default=False)
    method: Literal["btree", "hash", "gin", "gist", "brin", "spgist"] = setting("Its kind.", default="btree")
    include: list[Identifier] = setting("Columns that it carries along.", default=[])
    where: Sql | None = setting("The rows that it holds; all where nothing is said.", default=None)


class UniqueSection(Section):
    """A unique constraint."""

    columns: Columns = setting("Which.", example=["email"])
    nulls_not_distinct: bool = setting("Two NULLs are the same.", default=False)


Reaction = Literal["no action", "restrict", "cascade", "set null", "set default"]


class ForeignKeySection(Section):
    """A foreign key."""

    columns: Columns = setting("Columns here.", example=["customer_id"])
    table: TableName = setting("The table that they reference.", example="customers")
    references: Columns = setting("Its columns.", default=["id"], example=["id"])
    on_delete: Reaction = setting("What becomes of rows here.", default="no action")
    on_update: Reaction = setting("What becomes of rows here.", default="no action")


class EnumSection(Section):
    """An enum whose values change.

    Either values are added to the type, or a column gets another list of them.
    """

    add: list[Identifier] = setting("Values that it gets; PostgreSQL takes none away again.", default=[])
    before: Identifier | None = setting("The value that they stand before.", default=None)
    after: Identifier | None = setting("The value that they stand after.", default=None)
    column: Identifier | None = setting("The column that gets the list of `values`.", default=None)
    values: list[Identifier] = setting("The whole new list, in its order.", default=[])
    map: dict[Identifier, Identifier] = setting("Values that are gone, and what they become.", default={})


class VerifySection(Section):
    """How sure to be."""

    sample: Annotated[float, Field(gt=0, le=1, strict=False)] = setting(
        "Share of rows that sampling looks at.", default=1.0
    )
    lossy: Literal["forbid", "report", "allow"] = setting(
        "Rows that an inverse does not give back: they block, are only said, or block until somebody allows them.",
        default="forbid",
    )


ALL = "*"
"""What `drop: table` is kept as: no column is called so."""


def _dropped(value: object) -> object:
    if value == "table":
        return {ALL: {}}
    if isinstance(value, str) or (isinstance(value, list) and any(isinstance(one, list | dict) for one in value)):
        raise bad("`drop` must be a list of columns, or `table`", "drop: [legacy_flag]")
    return {_scalar(one): {} for one in value} if isinstance(value, list) else value


Splits = Annotated[list[SplitSection], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)]


class ChangeSection(Section):
    """A change of one table, over several releases."""

    change: Annotated[str, BeforeValidator(_scalar), AfterValidator(_change_name)] = setting(
        "Its name: lower case letters, digits, `-`, `_`; at most 40.", example="split-full-name"
    )
    table: TableName = setting("The table, with its schema where that is not public.", example="users")
    split: Splits = setting("Columns that become other columns.", default=[])
    rename: dict[Identifier, Identifier] = setting(
        "Old name to new name.", default={}, example={"email": "email_address"}
    )
    type: dict[Identifier, Annotated[TypeSection, _key("to")]] = setting(
        "Column to new type.", default={}, example={"visits": "bigint"}
    )
    not_null: dict[Identifier, Annotated[NotNullSection, _key("fill")]] = setting(
        "Column to what stands in for NULL.", default={}, example={"bio": "''"}
    )
    drop: Annotated[dict[Identifier, Annotated[DropSection, _key("default")]], BeforeValidator(_dropped)] = setting(
        "Columns that go, or `table`.", default={}, example=["legacy_flag"]
    )
    add: dict[Identifier, Annotated[AddSection, _key("type")]] = setting(
        "New column to its type.", default={}, example={"tier": {"type": "text", "default": "'free'"}}
    )
    move: MoveSection | None = setting("Columns that go to another table.", default=None)
    index: dict[Identifier, Annotated[IndexSection, _key("columns")]] = setting("Index to its columns.", default={})
    unique: dict[Identifier, Annotated[UniqueSection, _key("columns")]] = setting(
        "Constraint to its columns.", default={}
    )
    foreign_key: dict[Identifier, ForeignKeySection] = setting("Constraint to what it references.", default={})
    check: dict[Identifier, Sql] = setting(
        "Constraint to its condition.", default={}, example={"visits_positive": "visits >= 0"}
    )
    enum: dict[TableName, EnumSection] = setting("Type to what becomes of its values.", default={})
    primary_key: dict[Identifier, SqlTypeText] = setting("Key to its new type.", default={}, example={"id": "bigint"})
    verify: VerifySection = section("How sure to be.", VerifySection)


def keys_of(model: type[Section]) -> Iterable[str]:
    """Return the keys of a section, as they are written."""
    return (field.alias or name for name, field in model.model_fields.items())


ENTRIES: Mapping[str, type[Section]] = {
    "split": SplitSection,
    "type": TypeSection,
    "not_null": NotNullSection,
    "drop": DropSection,
    "add": AddSection,
    "move": MoveSection,
    "index": IndexSection,
    "unique": UniqueSection,
    "foreign_key": ForeignKeySection,
    "enum": EnumSection,
    "verify": VerifySection,
}
"""The sections that intents are written in."""
