from __future__ import annotations

from hitless.cli.faults import NoPage
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common
from hitless.explain import codes, page


def explain(code: str | None = None, /, *, common: Common = DEFAULTS) -> int:
    """Explain an error code, or a rule of the lint, offline.

    Args:
        code: As shown in the error, e.g. HL2001, or a rule's name; without it, all codes are listed.
        common: Options of every command.
    """
    output = common.output
    known = list(codes())
    if code is None:
        text = "\n".join(known)
    elif (wanted := code.upper()) in known:
        text = page(wanted).rstrip()
    else:
        text = _rule(code, known)
    if common.json:
        output.document("explanation", {"code": code, "text": text})
    else:
        output.raw(text)
    return DONE


def _rule(name: str, known: list[str]) -> str:
    """Return the page of a rule of the lint.

    Raises:
        NoPage: there is none.
    """
    from hitless.schema.rules.registry import RULES  # noqa: PLC0415 - codes are explained without it
    from hitless.view.rules import rule_page  # noqa: PLC0415 - as above

    if name.lower() not in RULES:
        raise NoPage(name, known)
    return rule_page(RULES[name.lower()]).rstrip()
