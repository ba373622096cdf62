"""What a release knows of the table. Release 1 knows it as `schema.sql` makes it; each change teaches a later one more.

A release maps exactly the columns that it knows: SQLAlchemy names every one of them in every SELECT and INSERT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Boolean, Integer, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

CHANGES = ("split", "rename", "type", "not_null", "drop", "primary_key")


def changes_of(release: str) -> frozenset[str]:
    """Read which changes a release was written for: `2-split` for one of them, `2-all`, `1` for none."""
    _, _, suffix = release.partition("-")
    if suffix == "all":
        return frozenset(CHANGES)
    return frozenset(change for change in CHANGES if change == suffix.replace("-", "_"))


class Base(DeclarativeBase):
    pass


def account_of(knows: frozenset[str]) -> type[Any]:
    """Return the mapped class of a release."""
    key = BigInteger if "primary_key" in knows else Integer
    columns: dict[str, Any] = {
        "__tablename__": "users",
        "id": mapped_column(key, primary_key=True),
        "reference": mapped_column(Text),
        "visits": mapped_column(BigInteger if "type" in knows else Integer, default=0),
        "bio": mapped_column(Text, nullable="not_null" not in knows),
        "email": mapped_column("email_address" if "rename" in knows else "email", Text),
    }
    names = ("first_name", "last_name") if "split" in knows else ("full_name",)
    columns |= {name: mapped_column(Text) for name in names}
    if "drop" not in knows:
        columns["legacy_flag"] = mapped_column(Boolean, default=False)
    columns["__annotations__"] = {}
    return type("Account", (Base,), columns)


def sign_in_of(knows: frozenset[str]) -> type[Any]:
    """Return the mapped class of the table that refers to accounts."""
    key = BigInteger if "primary_key" in knows else Integer
    columns = {
        "__tablename__": "sign_ins",
        "id": mapped_column(BigInteger, primary_key=True),
        "user_id": mapped_column(key),
    }
    return type("SignIn", (Base,), columns)


def values_of(asked: Mapping[str, Any], knows: frozenset[str]) -> dict[str, Any]:
    """Turn what a client asks for into attributes of the mapped class."""
    values = {name: asked[name] for name in ("visits", "email") if name in asked}
    if "name" in asked:
        first, _, last = asked["name"].partition(" ")
        values |= {"first_name": first, "last_name": last} if "split" in knows else {"full_name": asked["name"]}
    if "bio" in asked:  # release 1 has always written NULL where there is nothing to tell
        values["bio"] = asked["bio"] if "not_null" in knows else asked["bio"] or None
    if "legacy" in asked and "drop" not in knows:
        values["legacy_flag"] = asked["legacy"]
    return values


def shown(account: Any, knows: frozenset[str]) -> dict[str, Any]:
    """Return what clients are told: the same from every release."""
    name = f"{account.first_name} {account.last_name}".rstrip() if "split" in knows else account.full_name
    return {"id": account.id, "name": name, "email": account.email, "visits": account.visits, "bio": account.bio or ""}
