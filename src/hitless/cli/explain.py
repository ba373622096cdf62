from __future__ import annotations

from hitless.cli.faults import NoPage
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common
from hitless.explain import codes, page


def explain(code: str | None = None, /, *, common: Common = DEFAULTS) -> int:
    """Explain an error code, offline.

    Args:
        code: As shown in the error, e.g. HL2001; without it, all codes are listed.
        common: Options of every command.
    """
    output = common.output
    known = list(codes())
    if code is None:
        text = "\n".join(known)
    elif (wanted := code.upper()) in known:
        text = page(wanted).rstrip()
    else:
        raise NoPage(code, known)
    if common.json:
        output.document("explanation", {"code": code, "text": text})
    else:
        output.raw(text)
    return DONE
