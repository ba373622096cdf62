"""All rules, by name."""

from __future__ import annotations

from collections.abc import Mapping

from hitless.schema.rules import (
    columns,
    constraints,
    demands,
    dependents,
    indexes,
    losses,
    meta,
    optional,
    release,
    removals,
    renames,
    rows,
    server,
    style,
    transactions,
    waiting,
)
from hitless.schema.rules.rule import Rule

_FAMILIES = (
    columns.RULES,
    constraints.RULES,
    indexes.RULES,
    waiting.RULES,
    transactions.RULES,
    server.RULES,
    renames.RULES,
    removals.RULES,
    demands.RULES,
    dependents.RULES,
    rows.RULES,
    losses.RULES,
    release.RULES,
    optional.RULES,
    style.RULES,
    meta.RULES,
)

RULES: Mapping[str, Rule] = {rule.id: rule for family in _FAMILIES for rule in family}

CONTRACTS = frozenset(rule.id for rule in RULES.values() if rule.is_contract)
"""Rules that `-- hitless: contract CHANGE` lets pass."""
