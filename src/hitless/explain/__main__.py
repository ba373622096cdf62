"""Prints the reference page of all errors: `python -m hitless.explain > docs/reference/errors.md`."""

import sys

from hitless.explain.reference import reference

if __name__ == "__main__":
    sys.stdout.write(reference())
