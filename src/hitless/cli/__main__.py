"""The `hitless` command."""

import gc
import sys

QUIET_GC_OBJECTS = 50_000
"""Importing creates long-lived objects by the ten thousand; with the usual 700 the collector takes a fifth of it."""


def main() -> None:
    """Run `hitless` with the process's arguments, and exit."""
    gc.set_threshold(QUIET_GC_OBJECTS)
    from hitless.cli.shell import run  # noqa: PLC0415 - everything is imported after the line above, or it gains nothing

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
