"""Small damage to files: text, bytes, JSON trees, members of archives. Seeded, so that a find comes again."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

TEXT_PIECES = (
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        ",",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "\r",
        "#",
        "'",
        '"',
        "|\n",
        "\\",
        "-",
        " ",
    ),
    *("&a ", "*a", "!!int ", "<<: ", "? ", "---\n", "!!python/object/apply:os.system ['touch exploded']"),
    *("\0", "\x07", "\x85", "\u2028", "\ufeff", "é", "\U0001f600", "\ud800", "[" * 3000, "{a: " * 300),
    *(
        "null",
        "true",
        "yes",
        ".nan",
        "-.inf",
        "1e999",
        "0x1F",
        "9" * 40,
        "9" * 5000,
        "²",
        "٣",
        "0",
        "-1",
        "3",
    ),
    *("a" * 300, "../../etc/passwd", "${HOME}", "/", "%s", "name", "name: ", "extends: ", "plugins: "),
)
# what a pickle would need to run something; and lengths that promise more than there is
BYTE_PIECES = (
    *(b"", b"\0", b"\xff", b"\xff\xff\xff\x7f", b"\xff" * 8, b"\0" * 8, b"\n", b"."),
    *(b"cos\nsystem\n(S'touch exploded'\ntR.", b"cbuiltins\nexec\n(S'1/0'\ntR.", b"c__main__\nBomb\n)R."),
    *(
        b"cposix\nsystem\nX\x0e\x00\x00\x00touch exploded\x85R.",
        b"\x80\x04",
        b"Q",
        b"P1\n",
        b"h\xff",
        b"}(",
        b"]",
    ),
    *(b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"'shape': (99999999999,)", b"'descr': '|O'"),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        3,
        10**40,
        -(2**63),
        1e308,
        -0.0,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\0",
        "é\n\u2028",
    ),
    *([], {}, [[]], [None], {"": None}, "9" * 400, "../x", "x" * 5000),
)


def mutated_text(text: str, rng: random.Random, pieces: Sequence[str] = TEXT_PIECES) -> str:
    """Up to four pieces replaced, removed, repeated or moved."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 0, 1, 2, 5, 30)))
        action = rng.randrange(4)
        if action == 0:
            text = text[:start] + rng.choice(pieces) + text[stop:]
        elif action == 1:
            text = text[:start] + text[stop:]
        elif action == 2:
            text = text[:start] + text[start:stop] * rng.randint(2, 4) + text[stop:]
        else:
            other = rng.randrange(len(text) + 1)
            text = text[:other] + text[start:stop] + text[other:]
    return text


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut off, or up to four places with other bits, other bytes, or a piece that means something."""
    if rng.random() < 0.15:
        return data[: rng.randrange(len(data) + 1)]
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(changed) + 1)
        action = rng.randrange(4)
        if action == 0 and changed:
            changed[start % len(changed)] ^= 1 << rng.randrange(8)
        elif action == 1:
            changed[start : start + rng.choice((0, 1, 4, 30))] = rng.choice(BYTE_PIECES)
        elif action == 2:
            del changed[start : start + rng.choice((1, 2, 8, 100))]
        else:
            changed[start : start + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    return bytes(changed)


def mutated_tree(tree: Any, rng: random.Random, values: Sequence[Any] = VALUES) -> Any:
    """A copy with up to three of its nodes replaced, removed, or added to."""
    root = [copy.deepcopy(tree)]
    for _ in range(rng.randint(1, 3)):
        places = list(_places(root))
        holder, key = places[min(rng.randrange(len(places)), rng.randrange(len(places)))]
        action = rng.randrange(4)
        if action < 2:
            holder[key] = copy.deepcopy(rng.choice(values))
        elif action == 2 and holder is not root:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice((*map(str, holder), "x", "")) + rng.choice(("", "x"))] = rng.choice(values)
        else:
            holder.append(copy.deepcopy(rng.choice(values)))
        if not root:
            root.append(None)
    return root[0]


def _places(node: Any) -> Any:
    for key in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def mutated_json(data: bytes, rng: random.Random) -> bytes:
    """The document with another tree, or its bytes damaged."""
    if rng.random() < 0.3:
        return mutated_bytes(data, rng)
    return json.dumps(mutated_tree(json.loads(data), rng)).encode()


def mutated_member(data: bytes, rng: random.Random, mutate: Callable[[bytes, random.Random], bytes]) -> bytes:
    """A zip archive with one member changed, or removed, and checksums that are right all the same."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(changed, "w") as target:
        names = source.namelist()
        chosen = rng.choice(names)
        for name in names:
            content = source.read(name)
            if name == chosen:
                if rng.random() < 0.1:
                    continue
                content = mutate(content, rng)
            target.writestr(name, content)
    return changed.getvalue()
