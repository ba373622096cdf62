"""The accounts of `examples/accounts` by Django, in one file: the same table and answers, another driver's habits.

gunicorn accounts:application --bind 127.0.0.1:8000 --worker-class gthread --threads 8

Django's defaults: a connection for each request, no prepared statements, an UPDATE of every mapped column unless told
which. It knows nothing of hitless.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

RELEASE = os.environ.get("ACCOUNTS_RELEASE", "1")
CHANGES = ("split", "rename", "type", "not_null", "drop", "primary_key")
KNOWS = frozenset(CHANGES if RELEASE.endswith("-all") else [RELEASE.partition("-")[2].replace("-", "_")])
LISTED = 20


def database_of(url: str) -> dict[str, Any]:
    parts = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {"ENGINE": "django.db.backends.postgresql"} | {name: str(parts.get(key, "")) for name, key in names.items()}


settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for this example alone",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.name_version"],
    DATABASES={"default": database_of(os.environ.get("DATABASE_URL", "postgresql:///accounts"))},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)

import django  # noqa: E402 - models need settings

django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402 - as above
from django.db import connection, models, transaction  # noqa: E402 - as above
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402 - as above
from django.urls import path  # noqa: E402 - as above


def account_of() -> type[models.Model]:
    """Return the model of this release: exactly the columns that it knows."""
    keys = models.BigAutoField if "primary_key" in KNOWS else models.AutoField
    columns: dict[str, Any] = {
        "__module__": __name__,
        "id": keys(primary_key=True),
        "reference": models.TextField(null=True, unique=True),
        "visits": (models.BigIntegerField if "type" in KNOWS else models.IntegerField)(default=0),
        "bio": models.TextField(null="not_null" not in KNOWS),
        "email": models.TextField(db_column="email_address" if "rename" in KNOWS else "email"),
    }
    names = ("first_name", "last_name") if "split" in KNOWS else ("full_name",)
    columns |= {name: models.TextField() for name in names}
    if "drop" not in KNOWS:
        columns["legacy_flag"] = models.BooleanField(default=False)
    columns["Meta"] = type("Meta", (), {"managed": False, "db_table": "users", "app_label": "accounts"})
    return type("Account", (models.Model,), columns)


Account: Any = account_of()


def values_of(asked: dict[str, Any]) -> dict[str, Any]:
    values = {name: asked[name] for name in ("visits", "email") if name in asked}
    if "name" in asked:
        first, _, last = asked["name"].partition(" ")
        values |= {"first_name": first, "last_name": last} if "split" in KNOWS else {"full_name": asked["name"]}
    if "bio" in asked:
        values["bio"] = asked["bio"] if "not_null" in KNOWS else asked["bio"] or None
    return values


def shown(account: Any) -> dict[str, Any]:
    name = f"{account.first_name} {account.last_name}".rstrip() if "split" in KNOWS else account.full_name
    return {"id": account.id, "name": name, "email": account.email, "visits": account.visits, "bio": account.bio or ""}


def name_version(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["x-version"] = RELEASE
        return response

    return middleware


def report_live(_: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "alive"})


def report_ready(_: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ready"})


def accounts(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return create(json.loads(request.body))
    after = int(request.GET.get("after", "0"))
    return JsonResponse(
        {"accounts": [shown(one) for one in Account.objects.filter(id__gt=after).order_by("id")[:LISTED]]}
    )


def create(asked: dict[str, Any]) -> HttpResponse:
    values = values_of({"visits": 0, "bio": "", **asked})
    with transaction.atomic():
        account, is_new = Account.objects.get_or_create(reference=asked["reference"], defaults=values)
        if is_new:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO sign_ins (user_id) VALUES (%s)", [account.id])
    return JsonResponse(shown(account), status=201)


def account(request: HttpRequest, number: int) -> HttpResponse:
    with transaction.atomic():
        # Django writes every mapped column back: without the lock, what another request wrote meanwhile would be lost,
        # with or without a change of the schema.
        everyone = Account.objects.select_for_update() if request.method == "PATCH" else Account.objects
        found = everyone.filter(id=number).first()
        if found is None:
            return JsonResponse({"error": "no such account"}, status=404)
        if request.method == "PATCH":
            for name, value in values_of(json.loads(request.body)).items():
                setattr(found, name, value)
            found.save()
        return JsonResponse(shown(found))


def find(request: HttpRequest) -> HttpResponse:
    found = Account.objects.filter(email=request.GET.get("email", "")).first()
    return JsonResponse(shown(found)) if found else JsonResponse({"error": "no such account"}, status=404)


def count_executions(request: HttpRequest) -> HttpResponse:
    found = Account.objects.filter(reference__startswith=request.GET.get("prefix", ""))
    return JsonResponse({"executions": dict(found.values_list("reference").annotate(models.Count("id")))})


urlpatterns = [
    path("health/live", report_live),
    path("health/ready", report_ready),
    path("accounts", accounts),
    path("accounts/executions", count_executions),
    path("accounts/find", find),
    path("accounts/<int:number>", account),
]

application = get_wsgi_application()
