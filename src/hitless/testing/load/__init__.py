"""A load generator that counts every request's fate, by cause, by kind of client and by version."""

from hitless.testing.load.command import LoadOptions, as_text, run_cli, run_load
from hitless.testing.load.errors import BadLoadPlan, RemoteTarget
from hitless.testing.load.plan import (
    ClientTls,
    Http2Spec,
    Kind,
    KindSpec,
    LoadPlan,
    PostSpec,
    RecordSpec,
    RequestSpec,
    StickySpec,
    StreamSpec,
    UploadSpec,
    usual_mix,
)
from hitless.testing.load.report import Failure, KindReport, PostCheck, Report, Verdict
from hitless.testing.load.report_json import COLUMNS, from_json, rows, to_json
from hitless.testing.load.runner import Load

__all__ = [
    "COLUMNS",
    "BadLoadPlan",
    "ClientTls",
    "Failure",
    "Http2Spec",
    "Kind",
    "KindReport",
    "KindSpec",
    "Load",
    "LoadOptions",
    "LoadPlan",
    "PostCheck",
    "PostSpec",
    "RecordSpec",
    "RemoteTarget",
    "Report",
    "RequestSpec",
    "StickySpec",
    "StreamSpec",
    "UploadSpec",
    "Verdict",
    "as_text",
    "from_json",
    "rows",
    "run_cli",
    "run_load",
    "to_json",
    "usual_mix",
]
