"""Change files: every form that they have, and every mistake with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from change_cases import CASES

from hitless.config.change_file import ChangeUnreadable, InvalidChange, parse_change, read_change
from hitless.schema.change.intent import (
    Add,
    Change,
    Demand,
    DropColumns,
    DropTable,
    ExtendEnum,
    Intent,
    MakeIndex,
    MakeUnique,
    Move,
    Reference,
    Rename,
    ReplaceEnum,
    Require,
    Retype,
    Split,
    WidenKey,
)
from hitless.schema.change.spec import ChangeTooNew, change_of, spec_of
from hitless.schema.names import Name

NAMES = {"first_name": "split_part(full_name, ' ', 1)", "last_name": "split_part(full_name, ' ', 2)"}
INTO = "first_name: \"split_part(full_name, ' ', 1)\", last_name: \"split_part(full_name, ' ', 2)\""
BACK = "concat_ws(' ', first_name, last_name)"

FORMS: dict[str, tuple[Intent, ...]] = {
    f'split: {{from: full_name, into: {{{INTO}}}, inverse: "{BACK}"}}': (
        Split(sources=("full_name",), into=NAMES, inverse={"full_name": BACK}),
    ),
    "split:\n- {from: a, into: {b: {as: a + 1, type: int}}, inverse: b - 1}\n"
    "- {from: [c], into: {d: c}, inverse: {c: d}}": (
        Split(sources=("a",), into={"b": "a + 1"}, inverse={"a": "b - 1"}, types={"b": "int"}),
        Split(sources=("c",), into={"d": "c"}, inverse={"c": "d"}),
    ),
    "rename: {email: email_address, 7: seven}": (
        Rename(column="email", to="email_address"),
        Rename(column="7", to="seven"),
    ),
    "type: {visits: bigint}": (Retype(column="visits", to="bigint"),),
    "type: {visits: {to: bigint, from: int, using: visits, inverse: visits, as: visit_count}}": (
        Retype(
            column="visits",
            to="bigint",
            old_type="int",
            using="visits",
            inverse="visits",
            new_name="visit_count",
        ),
    ),
    "not_null: {bio: \"''\", n: 0, ok: false}": (
        Require(column="bio", fill="''"),
        Require(column="n", fill="0"),
        Require(column="ok", fill="false"),
    ),
    "not_null: {bio: {fill: now()}}": (Require(column="bio", fill="now()"),),
    "drop: [a, b]": (DropColumns(columns=("a", "b")),),
    "drop: {a: {default: 0}, b: 1.50, c: {}}": (
        DropColumns(columns=("a", "b", "c"), defaults={"a": "0", "b": "1.50"}),
    ),
    "drop: table": (DropTable(),),
    "add: {tier: text, n: {type: int, default: 0, not_null: true}, u: {type: uuid, fill: gen_random_uuid()}}": (
        Add(column="tier", type="text"),
        Add(column="n", type="int", default="0", not_null=True),
        Add(column="u", type="uuid", fill="gen_random_uuid()"),
    ),
    "move: {columns: bio, to: app.profiles, key: {id: user_id}}": (
        Move(columns={"bio": "bio"}, to=Name("profiles", "app"), key={"id": "user_id"}),
    ),
    "index: {i: [a, (lower(b)), c DESC], u: {columns: a, unique: true, method: hash, include: [b], where: a > 0}}": (
        MakeIndex(name="i", keys=("a", "(lower(b))", "c DESC")),
        MakeIndex(name="u", keys=("a",), is_unique=True, method="hash", including=("b",), where="a > 0"),
    ),
    "unique: {u: a, v: {columns: [a, b], nulls_not_distinct: true}}": (
        MakeUnique(name="u", columns=("a",)),
        MakeUnique(name="v", columns=("a", "b"), nulls_not_distinct=True),
    ),
    "foreign_key: {f: {columns: a, table: p},"
    " g: {columns: [a, b], table: p, references: [x, y], on_delete: set null}}": (
        Reference(name="f", columns=("a",), table=Name("p"), referenced=("id",)),
        Reference(name="g", columns=("a", "b"), table=Name("p"), referenced=("x", "y"), on_delete="SET NULL"),
    ),
    "check: {c: a > 0 AND b <> ''}": (Demand(name="c", condition="a > 0 AND b <> ''"),),
    "enum: {mood: {add: [x, y], after: sad}}": (ExtendEnum(type=Name("mood"), values=("x", "y"), after="sad"),),
    "enum: {app.mood: {column: m, values: [x], map: {y: x}}}": (
        ReplaceEnum(column="m", type=Name("mood", "app"), values=("x",), mapping={"y": "x"}),
    ),
    "primary_key: {id: bigint}": (WidenKey(column="id"),),
}


def of(text: str) -> Change:
    return parse_change(f"change: a\ntable: t\n{text}\n", name="a.yaml")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str) -> None:
    assert of(form).intents == FORMS[form]


@pytest.mark.parametrize("form", FORMS)
def test_a_change_is_the_same_after_it_was_kept_as_json(form: str) -> None:
    assert change_of(json.loads(json.dumps(spec_of(of(form))))) == of(form)


def test_a_change_that_a_later_hitless_kept_is_read_as_far_as_fields_go_and_refused_where_an_intent_is_unknown() -> (
    None
):
    spec = json.loads(json.dumps(spec_of(of("drop: [a]"))))
    spec["intents"][0]["later"] = spec["later"] = 1
    assert change_of(spec) == of("drop: [a]")
    spec["intents"][0]["kind"] = "partition"
    with pytest.raises(ChangeTooNew, match="partition"):
        change_of(spec)


@pytest.mark.parametrize("case", CASES)
def test_the_cases_of_the_plans_are_changes(case: str) -> None:
    assert parse_change(f"change: a\n{CASES[case][1]}", name="a.yaml").intents


def test_a_table_may_have_a_schema_and_quotes() -> None:
    def table(text: str) -> Name:
        return parse_change(f"change: a\ntable: {text}\ndrop: [x]", name="a").table

    assert table("orders") == Name("orders")
    assert table("Shop.Orders") == Name("Orders", "Shop")
    assert table('\'"My App"."a.b"\'') == Name("a.b", "My App")


def test_what_is_said_of_verifying_is_kept() -> None:
    change = of("drop: [x]\nverify: {sample: 0.5, lossy: allow}")
    assert (change.sample, change.lossy) == (0.5, "allow")
    assert (of("drop: [x]").sample, of("drop: [x]").lossy) == (1.0, "forbid")


WRONG = {
    "renam: {a: b}": (3, 1, "unknown key `renam`", "did you mean `rename`?"),
    "": (1, 1, "the change wants nothing", "say what is wanted"),
    "split: {from: a, int: {b: a}, inverse: b}": (3, 18, "unknown key `int`", "did you mean `into`?"),
    "split:\n- {from: a, into: {b: {as: a, typ: x}}, inverse: b}": (4, 31, "unknown key `typ`", "did you mean `type`?"),
    "split: {from: a, into: {b: a}}": (3, 1, "`inverse` is missing", "add `inverse: ...`"),
    "split: {from: [a, b], into: {c: a}, inverse: c}": (3, 1, "`inverse` must say each old column", "inverse: {a"),
    "split: {from: a, into: {b: a}, inverse: {c: b}}": (3, 1, "`inverse` and `from` name other", "one of each: a"),
    "split: {from: a, into: {b: 'a +'}, inverse: b}": (3, 28, "this is no SQL expression", None),
    "split: {from: a, into: {b: 'a, a'}, inverse: b}": (3, 28, "this is several expressions", None),
    "split: {from: a, into: {b: (select 1)}, inverse: b}": (3, 28, "a subquery cannot stand here", None),
    "split: {from: a, into: {b: max(a)}, inverse: b}": (3, 28, "max() cannot stand here", None),
    "split: {from: a, into: {b: a || now()}, inverse: b}": (3, 28, "now gives another value each time", "again"),
    "split: {from: a, into: {b: $1}, inverse: b}": (3, 28, "a parameter cannot stand here", None),
    "type: {a: {too: int}}": (3, 12, "unknown key `too`", "did you mean `to`?"),
    "type: {a: 'in t t'}": (3, 11, "'in t t' is no type", "as in CREATE TABLE"),
    "type: [a]": (3, 1, "`type` must be a mapping, not a list", None),
    "rename: {a: }": (3, 10, "`a`", None),
    "not_null: {a: }": (3, 12, "there is nothing under `a`", None),
    "drop: tabel": (3, 7, "`drop` must be a list of columns, or `table`", "drop: [legacy_flag]"),
    "drop: [a, [b]]": (3, 1, "`drop` must be a list of columns", None),
    "add: {a: {type: int, not_null: yes}}": (3, 32, "`not_null` must be true or false", "write `true`"),
    "foreign_key: {f: {columns: a, table: p, on_delete: casc}}": (3, 52, "`on_delete` must be `no action`", None),
    "foreign_key: {f: {columns: a}}": (3, 15, "`table` is missing", None),
    "index: {i: {columns: a, method: tree}}": (3, 33, "`method` must be `btree`", None),
    "check: {c: random() > 0}": (3, 12, "random gives another value each time", None),
    "verify: {lossy: nope}\ndrop: [a]": (3, 17, "`lossy` must be `forbid`, `report` or `allow`", None),
    "verify: {sample: 2}\ndrop: [a]": (3, 18, "`sample` must be at most 1", None),
    "rename: {a: b}\ntype: {a: bigint}": (
        4,
        8,
        "`a` stands under `rename` and under `type`",
        "one change after the other",
    ),
    "drop: [a]\ndrop: [b]": (4, 1, "`drop` is here a second time", None),
    "drop: [a": (3, 9, "this is not YAML", None),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_told_with_its_place_and_the_next_step(text: str) -> None:
    line, column, message, hint = WRONG[text]
    with pytest.raises(InvalidChange) as found:
        of(text)
    first = found.value.findings[0]
    assert (first.place.line, first.place.column, first.message[: len(message)]) == (line, column, message)
    assert hint is None or hint in (first.hint or "")
    assert found.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("change: CHG-1\ntable: t\ndrop: [a]", "`CHG-1` is no name for a change"),
        (f"change: {'x' * 41}\ntable: t\ndrop: [a]", "the name has 41 characters"),
        ("table: t\ndrop: [a]", "`change` is missing"),
        ("change: a\ndrop: [a]", "`table` is missing"),
        ("change: a\ntable: a.b.c\ndrop: [a]", "`a.b.c` is no name of a table"),
        ("- a", "the file must hold keys and values"),
        ("", "the file must hold keys and values"),
    ],
)
def test_what_every_change_needs_is_asked_for(text: str, message: str) -> None:
    with pytest.raises(InvalidChange) as found:
        parse_change(text, name="a.yaml")
    assert found.value.findings[0].message.startswith(message)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(InvalidChange) as found:
        parse_change("change: A\ntable: t\ntype: {a: '('}\nadd: {b: ')'}", name="a.yaml")
    assert [one.place.line for one in found.value.findings] == [1, 3, 4]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ChangeUnreadable, match="no such file"):
        read_change(tmp_path / "none.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("change: ä".encode("latin-1"))
    with pytest.raises(ChangeUnreadable, match="not UTF-8"):
        read_change(latin)
