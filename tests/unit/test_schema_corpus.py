"""Each danger that squawk, strong_migrations and Atlas document is found; their safe ways are not found wanting."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from schema_cases import Case
from schema_corpus import CORPUS, GAPS, Example

from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Severity

sys.path.insert(0, str(Path(__file__).parents[2]))
coverage: Any = importlib.import_module("docs.generate.coverage")

OURS: dict[tuple[str, str], tuple[str, ...]] = {
    (tool, row.rule): row.names for tool, rows in coverage.ELSEWHERE.items() for row in rows
}
EXAMPLES = [pytest.param(key, found, id=f"{key[0]}-{key[1]}") for key, found in CORPUS.items()]


def asked_for(one: Case, rules: tuple[str, ...]) -> Case:
    """With the rules that are off; those that are on are so anyway."""
    off = frozenset(rule for rule in rules if RULES[rule].severity is Severity.OFF)
    return replace(one, settings=replace(one.settings, chosen=off))


def test_every_rule_that_others_have_is_answered_with_a_rule_that_exists_or_a_reason() -> None:
    answered = [(row.names, row.note) for rows in coverage.ELSEWHERE.values() for row in rows]
    assert [one for one in answered if not one[0] and not one[1]] == []
    assert {rule for names, _ in answered for rule in names} <= set(RULES)
    assert {rule for rule, _ in coverage.NOBODY} <= set(RULES)


def test_every_rule_that_is_answered_with_one_of_ours_has_an_example() -> None:
    assert set(CORPUS) == {key for key, names in OURS.items() if names}


@pytest.mark.parametrize(("key", "found"), EXAMPLES)
def test_the_danger_is_found(key: tuple[str, str], found: Example) -> None:
    report = asked_for(found.dangerous, OURS[key]).report
    assert report.unread == ()
    assert set(OURS[key]) <= {one.rule for one in report.findings}


@pytest.mark.parametrize(("key", "found"), EXAMPLES)
def test_the_safe_way_raises_no_alarm(key: tuple[str, str], found: Example) -> None:
    assert found.safe is not None
    report = asked_for(found.safe, OURS[key]).report
    assert report.unread == ()
    assert [f"{one.file}:{one.line} {one.rule}: {one.message}" for one in report.findings] == []


@pytest.mark.parametrize("gap", GAPS)
def test_what_others_miss_is_found(gap: str) -> None:
    rule, dangerous = GAPS[gap]
    assert rule in {one.rule for one in dangerous.report.findings}


def test_dangers_that_are_on_by_default_there_refuse_or_warn_here_without_being_asked() -> None:
    """But for questions of style, and changes that some teams want to see each time."""
    quiet = {key for key, names in OURS.items() if names and all(RULES[one].severity is Severity.OFF for one in names)}
    families = {RULES[one].family.value for key in quiet for one in OURS[key]}
    assert families <= {"style", "optional", "locks"}
