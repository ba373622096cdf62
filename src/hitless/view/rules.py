"""The rules of the lint as pages: one each, and the page `docs/reference/lint-rules.md`."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Family, Rule

_HEAD = """\
# Rules of `hitless migrate lint`

Generated from the code by `make docs`. `hitless explain RULE` says the same of one, offline;
[how to lint migrations](../how-to/lint.md).

*error* refuses a migration (exit code 4), *warning* is told, *off* is only looked for with `--enable RULE`. A table
that the same file creates locks nobody, and one that is known to have at most 10,000 rows turns errors about locks into
warnings. A comment before a statement lets a finding pass: `-- hitless: allow RULE: reason`.
"""


def rule_page(rule: Rule) -> str:
    """Explain one rule, as Markdown."""
    return (
        f"# {rule.id}\n\n{rule.summary}\n\n## Why\n\n{rule.why}\n\n## The safe way\n\n{rule.safe}\n\n"
        f"Severity: {rule.severity.value}. Where you know better, before the statement:\n\n"
        f"    -- hitless: allow {rule.id}: REASON\n"
    )


def reference() -> str:
    """Return the page of all rules."""
    return _HEAD + "".join(_families())


def _families() -> Iterator[str]:
    for family in Family:
        rules = [rule for rule in RULES.values() if rule.family is family]
        if rules:
            yield f"\n## {family.value.capitalize()}\n\n| rule | severity | finds | why | the safe way |\n"
            yield "| --- | --- | --- | --- | --- |\n"
            yield from (_row(rule) for rule in rules)


def _row(rule: Rule) -> str:
    cells = (f"`{rule.id}`", rule.severity.value, rule.summary, rule.why, rule.safe)
    return f"| {' | '.join(_cell(one) for one in cells)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
