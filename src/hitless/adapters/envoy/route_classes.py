"""Classes of routes: few enough to compare versions within each, and the same ones for all time. Pure.

Theory: a class is the method and the first segment of the path, ids taken out of it: `GET /cart`. Anybody can ask for
any path, so a class is only given once enough requests of it were answered, at most `MOST_CLASSES` per service; until
then, and for the rest, it is `other`. A class once given stays: what a second's strata mean must not depend on when it
is looked at. Nothing else of a path goes into figures.
"""

from __future__ import annotations

import re

MOST_CLASSES = 20
OTHER = "other"
GIVEN_AFTER = 20
"""Requests that must have been answered; a scanner asks for each path once or twice."""

_MOST_CANDIDATES = 1_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.~-]{0,39}", re.ASCII)
_ID = re.compile(r"[0-9]{3}|[0-9a-fA-F]{8}", re.ASCII)  # a number, a hash, a UUID; `v1` and `oauth2` are words
_LONGEST_EXTENSION = 5
_NOT_FOUND = range(400, 500)


class RouteClasses:
    """The classes of one service."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._candidates: dict[str, int] = {}
        self._names: dict[tuple[str, str], str] = {}

    @property
    def given(self) -> frozenset[str]:
        """Classes that have been given."""
        return frozenset(self._given)

    def of(self, method: str, path: str, *, status: int = 200) -> str:
        """Return the class of a request and take note of it; those answered with 4xx earn none."""
        head = path[:64].partition("?")[0]
        name = self._names.get((method, head)) or self._remember(method, head)
        if name in self._given:
            return name
        if len(self._given) >= MOST_CLASSES or status in _NOT_FOUND:
            return OTHER
        return self._consider(name)

    def _consider(self, name: str) -> str:
        seen = self._candidates.get(name, 0) + 1
        if seen >= GIVEN_AFTER:
            self._candidates.pop(name, None)
            self._given.add(name)
            return name
        self._candidates[name] = seen
        if len(self._candidates) > _MOST_CANDIDATES:  # keep what has traffic (Misra and Gries, 1982)
            self._candidates = {one: count - 1 for one, count in self._candidates.items() if count > 1}
        return OTHER

    def _remember(self, method: str, head: str) -> str:
        if len(self._names) >= _MOST_CANDIDATES:
            self._names.clear()
        name = self._names[method, head] = class_of(method, head)
        return name


def class_of(method: str, path: str) -> str:
    """Name the class of a request."""
    first, _, rest = path.partition("?")[0].lstrip("/").partition("/")
    return f"{method if method in _METHODS else 'OTHER'} /{_segment(first, is_last=not rest)}"


def _segment(text: str, *, is_last: bool) -> str:
    if not text:
        return ""
    stem, dot, extension = text.rpartition(".")
    if is_last and dot and stem and extension.isalnum() and len(extension) <= _LONGEST_EXTENSION:
        return f"*.{extension.lower()}"  # files of one build have names of their own: nothing could be compared
    return text if _PLAIN.fullmatch(text) and not _ID.search(text) else "{id}"
