"""Secrets out of addresses, before they reach a file, a message or a tracking server."""

from __future__ import annotations

import re
from urllib.parse import unquote

_USER = re.compile(r"://.*@", re.DOTALL)  # to the last @: a password may hold one, or a slash
_BARE = re.compile(r"^[^\s:/@]+:(?!//)\S*@")  # user:password@host, its scheme forgotten
_QUERY = re.compile(r"(?i)([?&;][^=&;]*(?:pass|pwd|token|secret|key)[^=&;]*=)[^&;#]*")


def redact_uri(uri: str) -> str:
    """The address without user, password and secret query values; other text as it is.

    >>> redact_uri("postgresql://ada:lace@db:5432/mlflow?password=x&sslmode=require")
    'postgresql://***@db:5432/mlflow?password=***&sslmode=require'
    """
    if "://" not in uri:
        return _BARE.sub("***@", uri)
    return _QUERY.sub(r"\1***", _USER.sub("://***@", uri))


def hide_secrets(text: str, uri: str) -> str:
    """What a driver says of an address, without pieces of user and password: it may have cut it elsewhere.

    >>> hide_secrets("unknown host home@db", "postgresql://ada:pass@home@db/x")
    'unknown host ***@db'
    """
    found = re.search(r"://(.*)@", uri, re.DOTALL)
    pieces = re.split(r"[:@/]", found[1]) if found else []
    for piece in sorted({*pieces, *map(unquote, pieces)}, key=len, reverse=True):
        if len(piece) > 2:  # shorter ones are everywhere
            text = text.replace(piece, "***")
    return text
