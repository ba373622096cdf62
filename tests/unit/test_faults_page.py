"""Every fault of the page is played by a test, and every fault that is played stands on the page."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/faults.md"
ROW = re.compile(r"^\| (?!fault \||---)(.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def rows() -> list[str]:
    return [found[0] for found in ROW.findall(PAGE.read_text("utf-8"))]


def marked() -> Iterator[str]:
    for path in (ROOT / "tests").glob("*/test_*.py"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from (name for one in function.decorator_list for name in _names_of(one))


def _names_of(decorator: ast.expr) -> Iterator[str]:
    match decorator:
        case ast.Call(func=ast.Attribute(attr="fault"), args=[ast.Constant(str(name))]):
            yield name


def test_every_fault_on_the_page_is_played_and_every_one_that_is_played_is_on_it() -> None:
    assert rows()
    assert set(rows()) == set(marked())


def test_no_fault_stands_on_the_page_twice() -> None:
    assert [name for name, count in Counter(rows()).items() if count > 1] == []
