"""Error codes explained, offline: one page each, as a file beside this module. Standard library only, to be quick."""

from __future__ import annotations

from importlib import resources

_SUFFIX = ".md"


def codes() -> list[str]:
    """Return all codes that have a page, sorted."""
    names = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.startswith("HL") and name.endswith(_SUFFIX))


def page(code: str) -> str:
    """Return the page of a code such as `HL2001`, as Markdown.

    Raises:
        KeyError: there is none; `codes()` lists those that have one.
    """
    if code not in codes():
        raise KeyError(code)
    return resources.files(__name__).joinpath(f"{code}{_SUFFIX}").read_text(encoding="utf-8")
