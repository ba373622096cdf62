from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.schema.guard.bodies import Sight, Words, sight
from hitless.schema.guard.decision import Block, Counter, Override, decide, of_counters, of_dependents, of_retention
from hitless.schema.guard.dependents import Dependent
from hitless.schema.guard.evidence import Evidence, Mapped, Source, Statement
from hitless.schema.guard.forms import numbered, readable, selected
from hitless.schema.guard.kinds import Code, Harmless, Query, Touch, Unjudged, kinds_of
from hitless.schema.guard.manifests import FORMAT, Consumer, NotAManifestError, manifest_of
from hitless.schema.guard.nodetree import columns_that_count, whole_rows
from hitless.schema.guard.probing import Parts, Shape, together
from hitless.schema.guard.verdict import CLEAR, Answer, Judged, Verdict, judge
from hitless.schema.guard.watching import Look, trouble_of

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DAY = timedelta(days=1)
ONE = Statement(text="SELECT id FROM users")
USED = Answer(verdict=Verdict.REFERENCES, ways=("names users.full_name",))
DOUBTED = Answer(verdict=Verdict.UNKNOWN, doubt="it cannot be prepared")
MAPPED = {("users", "full_name"): "users.full_name", ("users", "*"): "users.full_name"}


def evidence(
    source: Source = Source.ROLE, *, lacks: tuple[str, ...] = (), statements: tuple[Statement, ...] = (ONE,)
) -> Evidence:
    return Evidence(source=source, origin="somewhere", statements=statements, lacks=lacks)


def judged(*found: Evidence, answer: Answer | None = CLEAR) -> Judged:
    answers = {ONE: answer} if answer is not None else {}
    return judge("shop@42", because=("runs",), evidence=found, answers=answers, mapped=MAPPED)


def test_complete_evidence_without_a_use_is_clear() -> None:
    assert judged(evidence()).verdict is Verdict.CLEAR


def test_one_use_decides_whatever_is_lacking() -> None:
    assert judged(evidence(lacks=("evicted",)), answer=USED).verdict is Verdict.REFERENCES


@pytest.mark.parametrize(
    "found",
    [
        (),
        (evidence(lacks=("evicted",)),),
        (evidence(Source.STATIC),),
        (evidence(Source.STATIC), evidence(lacks=("too short",))),
    ],
)
def test_without_evidence_that_shows_absence_it_is_unknown(found: tuple[Evidence, ...]) -> None:
    assert judged(*found).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("answer", [DOUBTED, None])
def test_one_statement_that_nobody_can_judge_is_unknown(answer: Answer | None) -> None:
    assert judged(evidence(), answer=answer).verdict is Verdict.UNKNOWN


def test_a_second_source_need_not_be_complete() -> None:
    assert judged(evidence(), evidence(Source.MANIFEST, lacks=("lost",))).verdict is Verdict.CLEAR


@pytest.mark.parametrize("columns", [("id", "full_name"), ()])
def test_a_mapped_column_or_a_whole_table_is_a_use(columns: tuple[str, ...]) -> None:
    mapped = Evidence(source=Source.STATIC, origin="models", mapped=(Mapped(table="users", columns=columns),))
    assert judged(evidence(), mapped).verdict is Verdict.REFERENCES


@given(
    st.lists(
        st.builds(
            Evidence,
            source=st.sampled_from(Source),
            origin=st.just("x"),
            statements=st.sampled_from([(), (ONE,)]),
            lacks=st.sampled_from([(), ("lost",)]),
        ),
        max_size=4,
    ),
    st.sampled_from([CLEAR, USED, DOUBTED, None]),
)
def test_clear_means_that_something_shows_absence_and_nothing_speaks_against_it(
    found: list[Evidence], answer: Answer | None
) -> None:
    one = judged(*found, answer=answer)
    if one.verdict is Verdict.CLEAR:
        assert any(each.shows_absence for each in found)
        assert answer is CLEAR or not any(each.statements for each in found)


def test_both_ways_of_asking_must_be_able_to_tell() -> None:
    same, gone = Shape(columns=(("id", "20"),)), Shape(error="column does not exist")
    assert together(same, same, Parts()) is CLEAR
    assert together(same, gone, Parts()).verdict is Verdict.REFERENCES
    assert together(same, same, Parts(ways=("takes whole rows",))).verdict is Verdict.REFERENCES
    assert together(same, Shape(columns=()), Parts()).verdict is Verdict.REFERENCES
    assert together(gone, gone, Parts()).verdict is Verdict.UNKNOWN
    assert together(same, same, Parts(error="not supported")).verdict is Verdict.UNKNOWN
    assert together(same, same, Parts(opaque=("f is opaque",))).verdict is Verdict.UNKNOWN
    assert together(same, gone, Parts(error="not supported")).verdict is Verdict.REFERENCES


def decided(*others: Block, overrides: tuple[Override, ...] = ()) -> set[str]:
    decision = decide(judged=(judged(evidence(), answer=USED),), others=others, overrides=overrides, notes=(), now=NOW)
    return {one.subject for one in decision.blocks}


def test_an_override_ends_and_facts_cannot_be_overridden() -> None:
    fact = Block(subject="retention", sentence="too early", may_be_overridden=False)
    word = Override(subject="shop@42", actor="kim", reason="known", expires_at=NOW + DAY)
    assert decided(fact) == {"shop@42", "retention"}
    assert decided(fact, overrides=(word,)) == {"retention"}
    ended = Override(subject="shop@42", actor="kim", reason="known", expires_at=NOW)
    assert decided(overrides=(ended,)) == {"shop@42"}
    other = Override(subject="retention", actor="kim", reason="known", expires_at=NOW + DAY)
    assert decided(fact, overrides=(word, other)) == {"retention"}


@pytest.mark.parametrize(
    ("value", "quiet_since", "blocks"),
    [(0, None, False), (None, None, True), (3, None, True), (3, NOW, True), (3, NOW - DAY, False)],
)
def test_a_counter_must_have_been_quiet(value: int | None, quiet_since: datetime | None, *, blocks: bool) -> None:
    counter = Counter(name="c", sentence="old writes", value=value, quiet_since=quiet_since)
    assert bool(of_counters((counter,), quiet=timedelta(hours=1), now=NOW)) is blocks


def test_what_is_hidden_waits_for_its_retention() -> None:
    assert of_retention(None, retention=DAY, now=NOW)
    assert of_retention(NOW, retention=DAY, now=NOW)
    assert not of_retention(NOW - DAY, retention=DAY, now=NOW)


def test_what_functions_send_counts_as_seen_only_where_it_was() -> None:
    told = Dependent(name="function f()", why="opaque", is_told_by_statements=True)
    view = Dependent(name="view v", why="uses it")
    assert [one.subject for one in of_dependents((told, view), nested_is_seen=True)] == ["view v"]
    assert len(of_dependents((told, view), nested_is_seen=False)) == 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT %s, %s", "SELECT $1, $2"),
        ("SELECT %(a)s, %(b)s, %(a)s", "SELECT $1, $2, $1"),
        ("SELECT '%%', %s", "SELECT '%', $1"),
    ],
)
def test_marks_become_numbers(text: str, wanted: str) -> None:
    assert numbered(text, "%") == wanted
    assert numbered(text, "$") == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now() - interval $1", "now() - CAST($1 AS interval)"),
        ("timestamp with time zone $2", "CAST($2 AS timestamp with time zone)"),
        ("interval $3 day", "CAST($3 AS interval)"),
        ("extract($1 FROM created)", "extract(epoch FROM created)"),
        ("x = $1 AND y = $2", "x = $1 AND y = $2"),
    ],
)
def test_constants_are_written_so_that_they_can_be_read(text: str, wanted: str) -> None:
    assert readable(text) == wanted


def test_an_assignment_is_selected() -> None:
    assert selected("x := (SELECT 1)") == "SELECT (SELECT 1)"
    assert selected("SELECT 1") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 1", Query),
        ("SELECT 1 INTO t", Query),
        ("DECLARE c CURSOR FOR SELECT 1", Query),
        ("COPY users TO STDOUT", Touch),
        ("LOCK users", Touch),
        ("DO $$ BEGIN END $$", Code),
        ("SET x = $1", Harmless),
        ("", Harmless),
        ("EXECUTE p", Unjudged),
        ("SELECT FROM WHERE", Unjudged),
        ("IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", Unjudged),
    ],
)
def test_kinds(text: str, kind: type) -> None:
    assert isinstance(kinds_of(text)[0], kind)


def test_words_that_look_harmless_hide_no_second_statement() -> None:
    assert not isinstance(kinds_of("SET a = 1; SELECT 1")[-1], Harmless)


@given(st.text(max_size=80))
def test_no_text_makes_the_kinds_fail(text: str) -> None:
    assert kinds_of(text, marks="%", nested=True)


WORDS = Words(relations=frozenset({"users"}), columns=frozenset({"full_name"}))


@pytest.mark.parametrize(
    ("body", "is_trigger", "seen"),
    [
        ("SELECT full_name FROM users", False, Sight.NAMES_IT),
        ("SELECT FULL_NAME FROM USERS", False, Sight.NAMES_IT),
        ("SELECT full_name FROM teams", False, Sight.NOTHING),
        ("SELECT id FROM users", False, Sight.NAMES_TABLE),
        ("EXECUTE what", False, Sight.DYNAMIC),
        ("NEW.full_name := ''", True, Sight.NAMES_IT),
        ("INSERT INTO log VALUES (to_jsonb(NEW)); RETURN NEW", True, Sight.NAMES_TABLE),
        ("NEW.email := ''; RETURN NEW", True, Sight.NOTHING),
        ("SELECT my_users_full_name", False, Sight.NOTHING),
    ],
)
def test_bodies_are_judged_by_their_words(body: str, seen: Sight, *, is_trigger: bool) -> None:
    assert sight(body, WORDS, is_trigger=is_trigger) is seen


TREE = (
    "({QUERY :commandType 1 :resultRelation 0 :rtable ({RTE :rtekind 0 :relid 7} {RTE :rtekind 0 :relid 8}) "
    ":targetList ({TARGETENTRY :expr {VAR :varno 2 :varattno 0 :varlevelsup 0} :resno 1} "
    "{TARGETENTRY :expr {SUBLINK :subLinkType %s :subselect {QUERY :commandType 1 :rtable ({RTE :rtekind 0 :relid 9}) "
    ":targetList ({TARGETENTRY :expr {VAR :varno 1 :varattno 3 :varlevelsup 0} :resno 1}) "
    ":jointree {VAR :varno 1 :varattno 0 :varlevelsup 1}}} :resno 2})})"
)


def test_whole_rows_are_found_in_the_query_they_belong_to() -> None:
    assert whole_rows(TREE % 4) == {7, 8}


def test_what_exists_selects_does_not_count() -> None:
    assert columns_that_count(TREE % 4) is None
    counted = columns_that_count(TREE % 0)
    assert counted is not None
    assert (9, 3) not in counted


@given(st.text(alphabet='(){}: abc\\"1', max_size=60))
def test_no_tree_makes_the_reader_fail(tree: str) -> None:
    assert whole_rows(tree) == frozenset()


def document(**changes: object) -> dict[str, object]:
    row = {
        "sql": "SELECT %s",
        "marks": "%",
        "parameters": ["int"],
        "calls": 2,
        "last_seen": "2026-11-30T10:00:00Z",
        "where": "a.py:1",
    }
    usual = {
        "format": FORMAT,
        "service": "shop",
        "version": "42",
        "scope": "tests",
        "coverage": 0.97,
        "lost": 0,
        "failed": 0,
        "began_at": "2026-11-29T10:00:00Z",
        "until": "2026-11-30T10:00:00Z",
        "statements": [row],
    }
    return json.loads(json.dumps({**usual, **changes}))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("changes", "complete"),
    [
        ({}, True),
        ({"lost": 1}, False),
        ({"failed": 1}, False),
        ({"unended": 1}, False),
        ({"statements": []}, False),
        ({"coverage": 0.5}, False),
        ({"coverage": None}, False),
        ({"scope": "production"}, True),
        ({"scope": "production", "began_at": "2026-11-30T09:00:00Z"}, False),
        ({"scope": "production", "began_at": None}, False),
        ({"scope": "a laptop"}, False),
    ],
)
def test_a_manifest_shows_absence_only_when_it_is_complete(changes: dict[str, object], *, complete: bool) -> None:
    (found,) = manifest_of(document(**changes), name="m", window=DAY).evidence
    assert found.shows_absence is complete


@pytest.mark.parametrize("wrong", [[], {}, document(format="other"), document(lost="x"), document(statements=[{}])])
def test_what_is_no_manifest_is_said_to_be_none(wrong: object) -> None:
    with pytest.raises(NotAManifestError):
        manifest_of(wrong, name="m", window=DAY)


def test_a_declaration_ends() -> None:
    said = Consumer(name="cdc", owner="data team", expires_at=NOW, uses={"orders": ()})
    assert said.evidence(NOW - DAY).shows_absence
    assert not said.evidence(NOW).shows_absence


def look(at_s: float, rollbacks: int = 0, counted: int | None = 0) -> Look:
    return Look(at_s=at_s, commits=0, rollbacks=rollbacks, counters={"c": counted})


def test_a_watch_knows_what_is_usual() -> None:
    usual = (look(0), look(10, rollbacks=20))
    assert trouble_of(usual, [look(20, 40), look(25, 60)]) is None
    assert "rolled back" in str(trouble_of(usual, [look(20, 40), look(25, 140)]))
    assert "older release" in str(trouble_of(usual, [look(20, 40, counted=1)]))
    assert "cannot be read" in str(trouble_of(usual, [look(20, 40, counted=None)]))
    assert "began anew" in str(trouble_of(usual, [look(20, 40), look(25, 3)]))
