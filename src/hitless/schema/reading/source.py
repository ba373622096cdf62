"""A file of SQL, as text: whatever bytes it holds, in whatever encoding a tool has written it."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""\bSET\s+client_encoding\s*(?:=|TO)\s*'?([\w-]+)""", re.IGNORECASE)
_DECLARED_WITHIN = 65_536
"""Bytes; pg_dump says its encoding in the first lines."""

_CODECS = {
    "SQL_ASCII": "latin-1",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "WIN1253": "cp1253",
    "WIN1254": "cp1254",
    "WIN1257": "cp1257",
    "WIN1258": "cp1258",
    "WIN866": "cp866",
    "WIN874": "cp874",
    "LATIN1": "latin-1",
    "LATIN2": "iso8859-2",
    "LATIN3": "iso8859-3",
    "LATIN4": "iso8859-4",
    "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10",
    "LATIN7": "iso8859-13",
    "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15",
    "LATIN10": "iso8859-16",
    "KOI8R": "koi8-r",
    "KOI8U": "koi8-u",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
    "EUC_CN": "gb2312",
    "SJIS": "shift_jis",
    "BIG5": "big5",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "UHC": "cp949",
    "JOHAB": "johab",
}
"""PostgreSQL's names of encodings that differ from UTF-8, and Python's ("Character Set Support")."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name and text.

    Attributes:
        name: as people find it.
        foreign: the encoding that it was read in, where that is not UTF-8 and nothing in it says so.
    """

    name: str
    text: str
    foreign: str | None = None


def decode(name: str, content: bytes) -> Source:
    """Read bytes as text: by the byte order mark, as UTF-8, as the file itself says, or else as Latin-1."""
    for mark, codec in _MARKS:
        if content.startswith(mark):
            return Source(name, content[len(mark) :].decode(codec, errors="replace"))
    try:
        return Source(name, content.decode("utf-8"))
    except UnicodeDecodeError:
        return _declared(name, content) or Source(name, content.decode("latin-1"), foreign="latin-1")


def _declared(name: str, content: bytes) -> Source | None:
    said = _DECLARED.search(content, 0, _DECLARED_WITHIN)
    codec = _CODECS.get(said[1].decode("ascii", errors="replace").upper()) if said else None
    return Source(name, content.decode(codec, errors="replace")) if codec else None
