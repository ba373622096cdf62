"""A Django project in one file. It knows nothing of hitless.

gunicorn shop:application --bind 127.0.0.1:8000 --workers 2                                       # sync, no keep-alive
gunicorn shop:application --bind 127.0.0.1:8000 --workers 1 --worker-class gthread --threads 8    # keep-alive of 2 s
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

VERSION = os.environ.get("HITLESS_VERSION", "dev")
MAX_SECONDS = 60.0

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for this example alone",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.name_version"],
)


def name_version(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["x-version"] = VERSION
        return response

    return middleware


def report_health(_: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def show_product(_: HttpRequest, number: int) -> HttpResponse:
    return JsonResponse({"version": VERSION, "id": number})


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"version": VERSION, "id": json.loads(request.body)["id"]}, status=201)


def answer_slowly(request: HttpRequest) -> HttpResponse:
    time.sleep(min(float(request.GET.get("seconds", "3")), MAX_SECONDS))
    return JsonResponse({"version": VERSION, "id": request.GET.get("id")})


urlpatterns = [
    path("", report_health),
    path("health", report_health),
    path("product/<int:number>", show_product),
    path("orders", place_order),
    path("slow", answer_slowly),
]

application = get_wsgi_application()
