"""The page of what was measured: one section for each part, with the machine it was measured on, renewed one by one."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.results import Result, to_markdown

FACTS = ("at", "python", "machine", "load_average")
WIDTH = 120
_SECTION = "<!-- measured: {name} -->\n{text}\n<!-- end -->\n"


def renewed(path: Path, *, head: str, names: Iterable[str], name: str, text: str) -> str:
    """Return the page with one section put in place of what it said before; sections stand in the order of names."""
    known = _sections(path.read_text("utf-8")) if path.exists() else {}
    known[name] = text
    return head + "".join("\n" + _SECTION.format(name=one, text=known[one]) for one in names if one in known)


def section(title: str, how: str, result: Result, *, spent_s: float) -> str:
    """Return a section: how it was measured, where, tables and goals."""
    facts = environment()
    where = "; ".join(f"{fact.replace('_', ' ')} {facts[fact]}" for fact in FACTS)
    heading, _, tables = to_markdown(title, result).partition("\n\n")
    measured = f"Measured: {where}; {spent_s:,.0f} s of processor time."
    return "\n\n".join((heading, _filled(how), tables.rstrip("\n"), _filled(measured)))


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _sections(text: str) -> dict[str, str]:
    found = re.findall(r"<!-- measured: (\w+) -->\n(.*?)\n<!-- end -->\n", text, flags=re.DOTALL)
    return dict(found)
