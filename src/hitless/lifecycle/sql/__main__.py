"""Put a `sqlmanifest.json` together: `python -m hitless.lifecycle.sql merge|models ...`.

`merge sqlmanifest.json` makes one manifest of the files that processes wrote beside it.
`models sqlmanifest.json --sqlalchemy shop.models:Base.metadata --service shop --version 42` adds the columns that
models map; `--django shop.settings` does it for a Django project.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hitless.lifecycle.sql.manifests import DifferError, merge, with_models
from hitless.lifecycle.sql.models import django_models, sqlalchemy_models

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    asked = command_line().parse_args(arguments)
    sys.path.insert(0, str(Path.cwd()))
    try:
        document = merge(asked.path) if asked.verb == "merge" else _models(asked)
    except (DifferError, OSError, ImportError, AttributeError) as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    lost = document["lost"] + document["failed"] + document.get("unended", 0)
    sys.stdout.write(
        f"{asked.path}: {len(document['statements'])} statements, {len(document.get('models', []))} models"
        f"{', incomplete: something was lost' if lost else ''}\n"
    )
    return 0


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m hitless.lifecycle.sql", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("merge", help="make one manifest of the files of several processes")
    one.add_argument("path", type=Path)
    two = verbs.add_parser("models", help="add the columns that models map")
    two.add_argument("path", type=Path)
    two.add_argument("--sqlalchemy", metavar="MODULE:METADATA")
    two.add_argument("--django", metavar="SETTINGS")
    two.add_argument("--service", required=True)
    two.add_argument("--version", required=True)
    two.add_argument("--digest")
    return parser


def _models(asked: argparse.Namespace) -> dict[str, Any]:
    if bool(asked.sqlalchemy) == bool(asked.django):
        raise DifferError("say either --sqlalchemy MODULE:METADATA or --django SETTINGS")
    about = {"service": asked.service, "version": asked.version, "digest": asked.digest, "scope": "models"}
    found = _of_sqlalchemy(asked.sqlalchemy) if asked.sqlalchemy else _of_django(asked.django)
    return with_models(asked.path, found, about)


def _of_sqlalchemy(place: str) -> list[dict[str, Any]]:
    module, _, name = place.partition(":")
    if not name:
        raise DifferError(f"{place!r}: say module and name, as shop.models:Base.metadata")
    metadata = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    return sqlalchemy_models(metadata)


def _of_django(settings: str) -> list[dict[str, Any]]:
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    django = importlib.import_module("django")
    django.setup()
    return django_models(importlib.import_module("django.apps").apps)


if __name__ == "__main__":
    sys.exit(main())
