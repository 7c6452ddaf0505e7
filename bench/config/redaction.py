"""Secrets out of addresses, before they reach a file, a message or a tracking server."""

from __future__ import annotations

import re

_USER = re.compile(r"://.*@", re.DOTALL)  # to the last @: a password may hold one, or a slash
_QUERY = re.compile(r"(?i)([?&;][^=&;]*(?:pass|pwd|token|secret|key)[^=&;]*=)[^&;#]*")


def redact_uri(uri: str) -> str:
    """The address without user, password and secret query values; other text as it is.

    >>> redact_uri("postgresql://ada:lace@db:5432/mlflow?password=x&sslmode=require")
    'postgresql://***@db:5432/mlflow?password=***&sslmode=require'
    """
    return _QUERY.sub(r"\1***", _USER.sub("://***@", uri)) if "://" in uri else uri
