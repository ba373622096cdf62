from __future__ import annotations

from schema_cases import Case, Cases, cases

from hitless.schema.linting import lint
from hitless.schema.reading.source import decode
from hitless.schema.report import Report

INDEX = "CREATE INDEX i ON t (a)"


class Bytes(Case):
    """A file as bytes."""

    @property
    def report(self) -> Report:
        return lint([decode("1.sql", self.files[0].encode("latin-1"))])


LINT: dict[str, Cases] = {
    "allowed-without-reason": cases(
        [f"-- hitless: allow index-blocks-writes\n{INDEX}", f"{INDEX}; -- hitless: allow index-blocks-writes:"],
        [f"-- hitless: allow index-blocks-writes: at night\n{INDEX}", f"-- hitless is great\n{INDEX}"],
    ),
    "allowed-in-vain": cases(
        [
            "-- hitless: allow index-blocks-writes: at night\nSELECT 1",
            f"-- hitless: allow index-blocks-writes: at night\nSELECT 1;\n{INDEX}",
            f"{INDEX};\n-- hitless: allow index-blocks-writes: behind it",
            f"-- hitless: contract c-1\n{INDEX}",
        ],
        [
            f"-- hitless: allow index-blocks-writes: at night\n\n/* why */ {INDEX}",
            f"{INDEX} -- hitless: allow index-blocks-writes: on its line\n",
            "-- hitless: contract c-1\nALTER TABLE t DROP COLUMN a, DROP COLUMN b",
            f"{INDEX}; -- hitless: allow index-blocks-writes: on its line\n SELECT 1",
            (
                "/* hitless: allow column-default-rewrites, column-identity-rewrites: both */\n"
                "ALTER TABLE t ADD a bigserial, ADD b uuid DEFAULT gen_random_uuid()"
            ),
        ],
    ),
    "allowed-unknown-rule": cases(
        [f"-- hitless: allow index-blocks-write: misspelt\n{INDEX}"],
        [f"-- hitless: allow index-blocks-writes: right\n{INDEX}"],
    ),
    "file-not-utf-8": cases(
        [Bytes(("SELECT 'é'",))],
        [Bytes(("SET client_encoding = 'LATIN1'; SELECT 'é'",)), Bytes(("SELECT 'e'",)), "SELECT 'é'"],
    ),
    "included-not-read": cases(["\\i other.sql", "SELECT 1;\n\\ir ../other.sql\n"], ["\\echo \\i", "-- \\i other.sql"]),
}
