"""Are two names one person's? Collections spell them differently."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

Key = tuple[str, ...]


def person(identity: str) -> str:
    """The folder that holds a person's pictures: `lfw/José_Aznar` -> `José_Aznar`."""
    return identity.rpartition("/")[2]


def key(name: str) -> Key:
    """What different spellings have in common: the words, without accents, case, punctuation and order.

    >>> key("José-María Aznar") == key("aznar_jose_maria")
    True
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = "".join(letter if letter.isalnum() else " " for letter in plain).split()
    return tuple(sorted(words))


def is_number(name: str) -> bool:
    """`00082`, `n000001`, `id10001`: says nothing about who it is."""
    digits = name.lower().removeprefix("id").removeprefix("n").removeprefix("m.")
    return digits.isdecimal()


def shared(train: Iterable[str], test: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs (training identity, test identity) with one name, in the order of the test's names."""
    by_key: dict[Key, str] = {}
    for identity in train:
        by_key.setdefault(key(person(identity)), identity)
    by_key.pop((), None)  # a name without a letter or digit
    found = ((by_key.get(key(person(identity))), identity) for identity in sorted(test))
    return [(ours, theirs) for ours, theirs in found if ours is not None]
