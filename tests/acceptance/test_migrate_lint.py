"""`hitless migrate lint` as scripts call it: exit codes, streams, what tools for migrations print."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

SAFE = "SET lock_timeout = '100ms';\nALTER TABLE orders ADD COLUMN tier text;\n"
UNSAFE = "SET lock_timeout = '100ms';\nCREATE INDEX orders_tier ON orders (tier);\n"
ALEMBIC = """\
BEGIN;

-- Running upgrade 1a2b -> 3c4d

ALTER TABLE orders ADD COLUMN tier VARCHAR(20);

UPDATE alembic_version SET version_num='3c4d' WHERE alembic_version.version_num = '1a2b';

COMMIT;

"""


def lint(*arguments: str, given: bytes = b"", at: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "hitless.cli", "migrate", "lint", *arguments]
    return subprocess.run(command, input=given, cwd=at, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("given", "code"),
    [(SAFE, 0), (UNSAFE, 4), ("SELEC", 2), (f"SELEC;\n{UNSAFE}", 2), ("", 0), (ALEMBIC, 0)],
    ids=ascii,
)
def test_a_script_sees_by_the_exit_code_what_was_found(given: str, code: int, tmp_path: Path) -> None:
    done = lint("-", given=given.encode(), at=tmp_path)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)


@pytest.mark.parametrize(
    "given",
    [
        b"\x00\xff\xfe" * 1_000,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50,
        b"(" * 100_000,
        b"'" * 99_999,
        b"\\" * 9_999,
    ],
    ids=["bytes", "picture", "parentheses", "quotes", "backslashes"],
)
def test_what_is_no_sql_ends_in_no_traceback(given: bytes, tmp_path: Path) -> None:
    done = lint("-", "--json", given=given, at=tmp_path)
    assert done.returncode in {0, 2}
    assert json.loads(done.stdout)["schema"] == "hitless.lint/v1"
    assert b"Traceback" not in done.stderr


def test_findings_go_to_stdout_and_the_refusal_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "1.sql").write_text(UNSAFE)
    done = lint("1.sql", "--json", at=tmp_path)
    assert [one["rule"] for one in json.loads(done.stdout)["data"]["findings"]] == ["index-blocks-writes"]
    assert json.loads(done.stderr)["data"]["code"] == "HL4501"
