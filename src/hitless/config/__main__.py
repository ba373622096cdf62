"""Prints the reference page of all settings: `python -m hitless.config > docs/reference/settings.md`."""

import sys

from hitless.config.reference import reference

if __name__ == "__main__":
    sys.stdout.write(reference())
