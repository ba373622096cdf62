"""Every error a user can meet has a code of its own and a page, and every page an error."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from hitless import explain
from hitless.explain.reference import error_classes, reference

PAGE = Path(__file__).parents[2] / "docs/reference/errors.md"
PARTS = ["## Why it happens", "## What to do", "## Example"]


def test_every_error_has_a_code_of_its_own() -> None:
    borrowed = [found.__name__ for found in error_classes() if "code" not in vars(found)]
    shared = [code for code, count in Counter(found.code for found in error_classes()).items() if count > 1]
    assert (borrowed, shared) == ([], [])


def test_every_error_has_a_page_and_every_page_an_error() -> None:
    assert explain.codes() == sorted({found.code for found in error_classes()})


@pytest.mark.parametrize("code", explain.codes())
def test_a_page_says_what_it_means_why_it_happens_and_what_to_do(code: str) -> None:
    lines = explain.page(code).splitlines()
    assert lines[0].startswith(f"# {code}: ")
    assert [line for line in lines if line.startswith("## ")] == PARTS
    assert lines[2].strip()
    assert max(len(line) for line in lines) <= 120
    assert len(lines) <= 45


def test_every_error_says_what_it_means() -> None:
    silent = [
        found.__name__
        for found in error_classes()
        if not (found.__doc__ or "").strip().partition("\n")[0].endswith(".")
    ]
    assert silent == []


def test_an_unknown_code_has_no_page() -> None:
    with pytest.raises(KeyError):
        explain.page("HL9999")
    with pytest.raises(KeyError):
        explain.page("../HL2000")


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "python -m hitless.explain > docs/reference/errors.md"


def test_explaining_imports_nothing_beside_the_standard_library() -> None:
    code = "import sys, hitless.explain; hitless.explain.page('HL2002'); print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"pydantic", "ruamel", "rich", "aiohttp"} & set(printed.stdout.split()) == set()
