"""The page `docs/reference/cli.md`: `python -m hitless.cli.reference > docs/reference/cli.md`."""

from __future__ import annotations

import re
import sys

from hitless.cli.app import build
from hitless.cli.outcome import EXIT_CODES

HEAD = f"""\
# Command line

Generated from the code: `python -m hitless.cli.reference > docs/reference/cli.md`. `hitless COMMAND --help` says the
same.

Data goes to stdout, narration and errors to stderr. A watch redraws in a terminal, prints one line per change elsewhere
or with `--plain`, and one JSON document per change with `--json`. Every document stands in a versioned envelope,
`{{"schema": "hitless.service/v1", "data": ...}}`, and is what the HTTP API answers.

{EXIT_CODES}

"""


def reference() -> str:
    """Return the page."""
    text = build().generate_docs(output_format="markdown", heading_level=2)
    return HEAD + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
