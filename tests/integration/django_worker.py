"""A process with Django, whose statements are captured: `django_worker.py DIRECTORY DATABASE MANIFEST old|new`."""

from __future__ import annotations

import sys
from pathlib import Path

from sql_application import ask_django, work_with_django

from hitless.lifecycle.sql import Capture, django_models
from hitless.lifecycle.sql.manifests import merge, with_models


def main(directory: str, database: str, manifest: str, which: str) -> None:
    apps, connection, user, order, transaction, models = work_with_django(
        Path(directory), database, is_old=which == "old"
    )
    capture = Capture(manifest, service="shop", version=which, scope="tests", coverage=1.0)
    capture.django(connection)
    ask_django(user, order, transaction, models)
    capture.write()
    path = Path(manifest)
    merge(path)
    with_models(path, django_models(apps), {"service": "shop", "version": which})


if __name__ == "__main__":
    main(*sys.argv[1:])
