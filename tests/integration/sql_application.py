"""An application with models of SQLAlchemy and of Django, to capture what they really send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

TABLES = """
CREATE TABLE users (id bigserial PRIMARY KEY, full_name text, email text UNIQUE, visits int NOT NULL DEFAULT 0);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, note text, total numeric);
"""


class OldBase(DeclarativeBase):
    pass


class OldUser(OldBase):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    full_name: Mapped[str | None]
    email: Mapped[str | None]
    visits: Mapped[int] = mapped_column(default=0)
    orders: Mapped[list[OldOrder]] = relationship(back_populates="user")


class OldOrder(OldBase):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    note: Mapped[str | None]
    user: Mapped[OldUser] = relationship(back_populates="orders")


class NewBase(DeclarativeBase):
    pass


class NewUser(NewBase):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None]
    visits: Mapped[int] = mapped_column(default=0)
    orders: Mapped[list[NewOrder]] = relationship(back_populates="user")


class NewOrder(NewBase):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    note: Mapped[str | None]
    user: Mapped[NewUser] = relationship(back_populates="orders")


def work_with_sqlalchemy(engine: Any, user: Any, order: Any) -> None:
    """Do what applications do: queries, joins, loading, bulk, upserts, deletes."""
    upsert = sa.dialects.postgresql.insert  # type: ignore[attr-defined]
    with Session(engine) as session:
        ada = user(email="ada@example.org", orders=[order(note="first"), order(note="second")])
        session.add(ada)
        session.commit()
        session.refresh(ada)
        ada.visits += 1
        session.commit()
        session.scalars(sa.select(user).where(user.email.like("%ada%")).order_by(user.id).limit(5)).all()
        session.scalars(sa.select(user).options(selectinload(user.orders))).all()
        session.execute(sa.select(user.id, sa.func.count(order.id)).join(user.orders).group_by(user.id)).all()
        session.execute(sa.select(sa.func.count()).select_from(sa.select(user.id).subquery())).scalar()
        session.execute(sa.select(sa.exists().where(user.email == "ada@example.org"))).scalar()
        session.execute(sa.update(user).where(user.id.in_([1, 2, 3])).values(visits=user.visits + 1))
        session.execute(sa.insert(user), [{"email": "b@example.org"}, {"email": "c@example.org"}])
        session.execute(
            upsert(user.__table__)
            .values(email="b@example.org", visits=1)
            .on_conflict_do_update(index_elements=["email"], set_={"visits": 2})
        )
        session.execute(sa.delete(order).where(order.note == "second"))
        session.execute(sa.text("SELECT email FROM users WHERE id = :id"), {"id": 1}).all()
        session.commit()


def work_with_django(directory: Path, database: str, *, is_old: bool) -> Any:
    """Do the same with Django; returns its apps. A process has one Django, so this runs in one of its own."""
    import django  # noqa: PLC0415 - only the process that is for it has it
    from django.conf import settings  # noqa: PLC0415 - as above

    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": str(directory),
                "USER": "postgres",
                "NAME": database,
            }
        },
        INSTALLED_APPS=["django_shop.ShopConfig"],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    from django.apps import apps  # noqa: PLC0415 - as above
    from django.db import connection, models, transaction  # noqa: PLC0415 - as above

    fields: dict[str, Any] = {
        "__module__": __name__,
        "email": models.TextField(null=True, unique=True),
        "visits": models.IntegerField(default=0),
        "Meta": type("Meta", (), {"db_table": "users", "app_label": "shop", "managed": False}),
    }
    if is_old:
        fields["full_name"] = models.TextField(null=True)
    user = type("User", (models.Model,), fields)
    order = type(
        "Order",
        (models.Model,),
        {
            "__module__": __name__,
            "user": models.ForeignKey(user, on_delete=models.CASCADE, related_name="orders"),
            "note": models.TextField(null=True),
            "Meta": type("Meta", (), {"db_table": "orders", "app_label": "shop", "managed": False}),
        },
    )
    return apps, connection, user, order, transaction, models


def ask_django(user: Any, order: Any, transaction: Any, models: Any) -> None:
    with transaction.atomic():
        grace = user.objects.create(email="grace@example.org")
        order.objects.bulk_create([order(user=grace, note="x"), order(user=grace, note="y")])
    grace.visits = models.F("visits") + 1
    grace.save(update_fields=["visits"])
    grace.refresh_from_db(fields=["visits"])
    list(user.objects.filter(email__icontains="grace").exclude(visits__gt=100).order_by("-id")[:5])
    list(user.objects.annotate(n=models.Count("orders")).filter(n__gte=1).values("id", "n"))
    list(order.objects.select_related("user").filter(user__email__startswith="g"))
    list(user.objects.prefetch_related("orders"))
    user.objects.filter(email="grace@example.org").exists()
    user.objects.filter(pk__in=[1, 2, 3]).update(visits=0)
    user.objects.get_or_create(email="grace@example.org")
    user.objects.aggregate(models.Max("visits"), models.Avg("visits"))
    order.objects.filter(note="y").delete()
    list(user.objects.raw("SELECT id, email FROM users WHERE email = %s", ["grace@example.org"])[:1])
