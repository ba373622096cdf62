"""The section `database` of `hitless.yaml`: what is read, and what is wrong where."""

from __future__ import annotations

from pathlib import Path

import pytest

from hitless.config import parse
from hitless.config.findings import InvalidConfiguration
from hitless.rollout.spec import (
    Amount,
    ChangeSpec,
    ConnectionsSpec,
    DatabaseSpec,
    RolesSpec,
    SwitchWhen,
)
from hitless.schema.change.standing import Standing

HEAD = """\
service: shop-api
listen: 127.0.0.1:8080
instances: 2
run: {command: [shop], environment: {LOG: info}}
"""
CHANGE = "change: {name}\ntable: users\nrename: {{email: email_address}}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(CHANGE.format(name=f"rename-{name}"))
    return tmp_path


def read(directory: Path, text: str) -> DatabaseSpec:
    database = parse(HEAD + text, path=directory / "hitless.yaml").services["shop-api"].database
    assert database is not None
    return database


def wrong(directory: Path, text: str) -> str:
    with pytest.raises(InvalidConfiguration) as raised:
        read(directory, text)
    return "\n".join(str(one) for one in raised.value.findings)


def test_a_url_alone_is_enough(directory: Path) -> None:
    assert read(directory, "database: {url: 'env:DB'}") == DatabaseSpec(url="env:DB")


def test_everything_that_can_be_said_is_read(directory: Path) -> None:
    text = """
database:
  url: file:secrets/url
  changes: [a.yaml, {file: b.yaml, standing: expanded}]
  switch: automatic
  pool: {per_instance: 10, jobs: 3, reserve: 5, during_migration: 20}
  roles: {group: app, prefix: s, variable: DB_URL}
"""
    assert read(directory, text) == DatabaseSpec(
        url=f"file:{directory / 'secrets/url'}",
        changes=(
            ChangeSpec(name="rename-a", file=str(directory / "a.yaml")),
            ChangeSpec(name="rename-b", file=str(directory / "b.yaml"), standing=Standing.EXPANDED),
        ),
        switch=SwitchWhen.AUTOMATIC,
        connections=ConnectionsSpec(per_instance=10, jobs=3, reserve=Amount(count=5), during_migration=20),
        roles=RolesSpec(group="app", prefix="s", variable="DB_URL"),
    )


def test_a_role_alone_is_the_group_and_the_prefix_is_the_services_name(directory: Path) -> None:
    assert read(directory, "database: {url: 'env:DB', roles: app}").roles == RolesSpec(group="app", prefix="shop_api")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://owner:secret@db/shop",
        "postgres://db/shop?user=a&password=secret",
        "postgresql://:x@db/shop",
        "postgresql://owner:se/cr@db/shop",
        "postgresql://owner@db/shop?sslkey=k&sslpassword=secret",
    ],
)
def test_a_password_is_not_taken_because_settings_are_journaled(directory: Path, url: str) -> None:
    told = wrong(directory, f"database: {{url: '{url}'}}")
    assert "hitless.yaml:5:" in told
    assert "would stand in the journal" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("database: {url: mysql://db/shop}", "says no place of a URL"),
        ("database: {url: 'env:'}", "says no place of a URL"),
        ("database: {}", "`url`"),
        ("database: {url: 'env:DB', changes: [none.yaml]}", "cannot be read"),
        ("database: {url: 'env:DB', changes: [a.yaml, a.yaml]}", "`rename-a` is named twice"),
        ("database: {url: 'env:DB', changes: [{file: a.yaml, standing: contracted}]}", "standing of a change"),
        ("database: {url: 'env:DB', pool: {per_instance: 0}}", "per_instance"),
        ("database: {url: 'env:DB', pool: {per_instance: 5, during_migration: 9}}", "versions have none of their own"),
        ("database: {url: 'env:DB', roles: app, pool: {per_instance: 5, during_migration: 4}}", "less than the 5"),
        ("database: {url: 'env:DB', roles: pg_monitor}", "name of a role"),
        ("database: {url: 'env:DB', roles: {group: app, variable: LOG}}", "instances get LOG from"),
        ("database: {url: 'env:DB', swich: manual}", "did you mean `switch`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(directory: Path, text: str, says: str) -> None:
    told = wrong(directory, text)
    assert says in told
    assert "hitless.yaml:" in told


def test_what_is_wrong_in_a_change_file_is_told_with_its_own_place_too(directory: Path) -> None:
    (directory / "c.yaml").write_text("change: c\ntable: users\nrenam: {a: b}\n")
    told = wrong(directory, "database: {url: 'env:DB', changes: [c.yaml]}")
    assert "hitless.yaml:5:" in told
    assert "c.yaml:3:1" in told
