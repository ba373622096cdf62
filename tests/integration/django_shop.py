from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "django_shop"
    label = "shop"
    path = str(Path(__file__).parent)
