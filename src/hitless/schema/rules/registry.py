"""All rules, by name."""

from __future__ import annotations

from collections.abc import Mapping

from hitless.schema.rules import indexes, locks, meta, transactions, waiting
from hitless.schema.rules.rule import Rule

_FAMILIES = (locks.RULES, indexes.RULES, waiting.RULES, transactions.RULES, meta.RULES)

RULES: Mapping[str, Rule] = {rule.id: rule for family in _FAMILIES for rule in family}
