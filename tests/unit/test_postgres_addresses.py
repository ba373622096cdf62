"""Where a database is, and the URL that an instance gets."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from hitless.adapters.postgres.addresses import UrlMissing, UrlWrong, resolve, url_for
from hitless.adapters.postgres.passwords import RoleKey
from hitless.schema.roles import VersionRole, comment_of, role_name, role_of

URL = "postgresql://owner:secret@db.example:5433/shop?sslmode=require"


def test_a_url_is_taken_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(URL + "\n")
    assert resolve("env:DB", {"DB": URL}) == URL
    assert resolve(f"file:{tmp_path / 'url'}", {}) == URL
    assert resolve("postgresql://owner@db.example/shop", {}) == "postgresql://owner@db.example/shop"


@pytest.mark.parametrize("place", ["env:DB", "file:/nowhere/url"])
def test_where_nothing_is_the_place_is_named(place: str) -> None:
    with pytest.raises(UrlMissing, match=place):
        resolve(place, {})


def test_an_empty_file_holds_no_url(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("\n")
    with pytest.raises(UrlMissing, match="empty"):
        resolve(f"file:{tmp_path / 'url'}", {})


def test_what_is_no_url_is_told_without_what_it_is() -> None:
    with pytest.raises(UrlWrong) as raised:
        resolve("env:DB", {"DB": "postgresql://owner:secret@[::1/shop"})
    assert "secret" not in raised.value.message


def test_an_instance_gets_the_same_database_with_its_own_role() -> None:
    url = url_for(URL, role="shop_v1.4", password="p")
    assert url == "postgresql://shop_v1.4:p@db.example:5433/shop?sslmode=require"


def test_a_socket_stays_a_parameter_because_no_url_has_a_folder_for_a_host() -> None:
    url = url_for("host=/run/pg port=5433 dbname=shop user=owner", role="r", password="p")
    assert url == "postgresql://r:p@/shop?host=%2Frun%2Fpg&port=5433"


def test_several_hosts_and_ipv6_stay() -> None:
    url = url_for("postgresql://a:1,b:2/shop?target_session_attrs=read-write", role="r", password="p")
    assert url == "postgresql://r:p@a:1,b:2/shop?target_session_attrs=read-write"
    assert url_for("host=::1 dbname=shop", role="r", password="p") == "postgresql://r:p@[::1]/shop"


@given(role=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1), password=st.text("ab:/@?#%"))
def test_whatever_a_role_is_called_comes_back_from_its_url(role: str, password: str) -> None:
    url = url_for("host=h dbname=shop", role=role, password=password)
    parts = conninfo_to_dict(url)
    assert (parts["user"], parts.get("password") or "") == (role, password)
    assert urlsplit(url).hostname == "h"


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    first = RoleKey(tmp_path).password(service="shop", role="shop_v1")
    assert RoleKey(tmp_path).password(service="shop", role="shop_v1") == first
    assert stat.S_IMODE((tmp_path / "database.key").stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["database.key"]


def test_every_role_has_a_password_of_its_own(tmp_path: Path) -> None:
    key = RoleKey(tmp_path)
    found = {key.password(service=service, role=role) for service in ("a", "b") for role in ("x", "y")}
    assert len(found) == 4


def test_a_key_that_is_cut_off_makes_no_password(tmp_path: Path) -> None:
    (tmp_path / "database.key").write_bytes(b"short")
    with pytest.raises(OSError, match="5 bytes"):
        RoleKey(tmp_path).password(service="shop", role="shop_v1")


def test_a_role_is_called_as_its_version() -> None:
    assert role_name("shop", "1.4") == "shop_v1.4"


@given(st.lists(st.text(min_size=1, max_size=120), min_size=2, max_size=2, unique=True))
def test_two_versions_never_share_a_name_and_no_name_is_cut_by_the_server(versions: list[str]) -> None:
    names = [role_name("shop", version) for version in versions]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= 63 for name in names)


@given(
    st.builds(VersionRole, service=st.text(), version=st.text(), key=st.text(), connections=st.none() | st.integers())
)
def test_what_is_remembered_of_a_role_is_read_back(role: VersionRole) -> None:
    assert role_of(comment_of(role)) == role


@pytest.mark.parametrize("comment", [None, "", "made by hand", "[]", "{}", '{"hitless": "x", "service": 3}'])
def test_other_comments_are_somebody_elses(comment: str | None) -> None:
    assert role_of(comment) is None
