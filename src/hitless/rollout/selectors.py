"""Selectors of metrics, as in PromQL: a name, and matchers of labels in braces. No functions, no arithmetic.

`orders_total`, or `orders_total{outcome="paid",channel!~"test|staff"}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
_SELECTOR = re.compile(rf"\s*({NAME})\s*(?:\{{(.*)\}})?\s*", re.DOTALL)
_MATCHER = re.compile(rf"""\s*({_LABEL})\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*(?:,|$)""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SIGNS = {"n": "\n", "t": "\t", "r": "\r"}
_FUNCTION = re.compile(rf"\s*{NAME}\s*\(")


class NotASelector(ValueError):
    """The text is no selector; the message says why, `hint` what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; a label that is not there is empty, as in PromQL."""

    label: str
    operator: str
    value: str
    _pattern: re.Pattern[str] | None = field(default=None, compare=False)

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels satisfy it; patterns stand for the whole value."""
        found = labels.get(self.label, "")
        is_same = self._pattern.fullmatch(found) is not None if self._pattern is not None else found == self.value
        return is_same is not self.operator.startswith("!")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A metric's name, and what its labels must be."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a series of this name is meant."""
        return all(one.fits(labels) for one in self.matchers)


def read_selector(text: str) -> Selector:
    """Read a selector.

    Raises:
        NotASelector: it is none.
    """
    match = _SELECTOR.fullmatch(text)
    if match is None:
        if _FUNCTION.match(text) or re.search(r"\[[0-9]+[smhd]", text):
            raise NotASelector("it is an expression", 'one metric with its labels: `orders_total{outcome="paid"}`')
        raise NotASelector("it is no metric", 'a name, and labels in braces: `orders_total{outcome="paid"}`')
    return Selector(name=match[1], matchers=tuple(_matchers(match[2] or "")))


def _matchers(text: str) -> Iterator[Matcher]:
    at = 0
    while text[at:].strip():
        match = _MATCHER.match(text, at)
        if match is None:
            shown = text[at:].strip()[:40]
            raise NotASelector(
                f"`{shown}` is no matcher of a label",
                'label, one of `=`, `!=`, `=~`, `!~`, and a text: `outcome="paid"`',
            )
        at = match.end()
        yield _matcher(match[1], match[2], _ESCAPED.sub(lambda sign: _SIGNS.get(sign[1], sign[1]), match[3][1:-1]))


def _matcher(label: str, operator: str, value: str) -> Matcher:
    if not operator.endswith("~"):
        return Matcher(label, operator, value)
    try:
        return Matcher(label, operator, value, re.compile(value))
    except re.error as error:
        raise NotASelector(f"`{value}` is no regular expression: {error}", "as in PromQL: `5..|timeout`") from None
