"""Write down which SQL an application sends: `sqlmanifest.json`, which the contract guard of `hitless migrate` reads.

    from hitless.lifecycle.sql import Capture

    capture = Capture("sqlmanifest.json", service="shop", version=os.environ["GIT_SHA"], scope="tests", coverage=0.97)
    capture.sqlalchemy(engine)          # an Engine; AsyncEngine.sync_engine
    capture.django(connection)          # in django.db.backends.signals.connection_created, or at the start of tests
    cursor_class = capture.psycopg(psycopg.Cursor)      # psycopg.connect(..., cursor_factory=cursor_class)

Rules.
* Nothing is imported: the application hands over its library's objects.
* Statements, names of their parameters' types and the line that sends them are written down; values never are.
* It is bounded: what does not fit is counted as lost, and the manifest says that it is incomplete.
* It may not disturb: what fails in here is counted, and the statement goes its way.
* Processes that write to the same path each write a file of their own beside it, `sqlmanifest.json.1234-5f3a`, renamed
  whole; `python -m hitless.lifecycle.sql merge sqlmanifest.json` makes one of them.

This room stands alone: the standard library, and nothing else of hitless.
"""

from hitless.lifecycle.sql.capture import Capture
from hitless.lifecycle.sql.models import django_models, sqlalchemy_models

__all__ = ["Capture", "django_models", "sqlalchemy_models"]
