"""Nothing in the documentation contradicts the code, leads nowhere, or is missing.

Settings, errors and the command line have their own tests; here is the rest of what `make docs` writes.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # `docs` is no installed package

generate: Any = importlib.import_module("docs.generate")
events: Any = importlib.import_module("docs.generate.events")

TESTED_ELSEWHERE = {"docs/reference/settings.md", "docs/reference/errors.md", "docs/reference/cli.md"}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.relative_to(ROOT).as_posix())
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
MISSION = {"D": 13, "O": 6, "M": 6, "F": 3, "P": 4, "C": 7}
MISSION_ROW = re.compile(r"^\| ([DOMFPC]\d+) \|.*\| (?:yes|partly: .+|not yet.*) \|$", re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(generate.PAGES) - TESTED_ELSEWHERE))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert generate.is_current(name, generate.PAGES[name]()), "make docs"


MEASURED = {"docs/reference/soak.md", "docs/reference/judge.md"}


FORMATS = {"docs/reference/sqlmanifest.md"}  # held against what is written by test_lifecycle_sql.py


def test_every_page_of_the_reference_is_generated_but_for_faults_formats_and_what_was_measured() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/reference").iterdir()}
    others = pages - MEASURED - FORMATS - {"docs/reference/faults.md"}
    assert others == {name for name in generate.PAGES if name.startswith("docs/")}


def test_every_type_of_journal_record_is_documented() -> None:
    page = (ROOT / "docs/reference/events.md").read_text("utf-8")
    written = {*events.folded_types(), *types_told_in_the_code()}
    assert written == {*re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, flags=re.MULTILINE)}


def types_told_in_the_code() -> Iterator[str]:
    """Find types that are written as they are: `Entry(type="...")`, and `journal_self("...")` of the control plane."""
    for path in (ROOT / "src").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            match call:
                case ast.Call(func=ast.Name("Entry"), keywords=given):
                    values = [one.value for one in given if one.arg == "type"]
                    yield from (str(one.value) for one in values if isinstance(one, ast.Constant))
                case ast.Call(func=ast.Attribute(attr="journal_self"), args=[ast.Constant(kind), *_]):
                    yield f"control_plane.{kind}"


def test_the_architecture_fits_on_300_lines() -> None:
    assert len((ROOT / generate.ARCHITECTURE).read_text("utf-8").splitlines()) <= 300


def test_the_architecture_names_every_room_and_only_files_that_exist() -> None:
    text = (ROOT / generate.ARCHITECTURE).read_text("utf-8")
    rooms = {path.name for path in (ROOT / "src/hitless").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert [room for room in sorted(rooms) if f"`{room}/" not in text] == []
    named = re.findall(r"`((?:unit|properties|scenarios|integration|acceptance)/[\w./]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text("utf-8"))
    broken = [link for link in LINK.findall(text) if not link.startswith("http") and not leads_somewhere(page, link)]
    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    name, _, place = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.exists() and (not place or place in places(target))


def places(page: Path) -> set[str]:
    """Name the headings as links name them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_overview() -> None:
    overview = (ROOT / "docs/README.md").read_text("utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in LINK.findall(overview)}
    assert [page for page in (ROOT / "docs").rglob("*.md") if page not in linked | {ROOT / "docs/README.md"}] == []


def test_the_readme_has_a_row_for_every_part_of_the_mission() -> None:
    rows = MISSION_ROW.findall((ROOT / "README.md").read_text("utf-8"))
    assert rows == [f"{part}{number}" for part, most in MISSION.items() for number in range(1, most + 1)]
