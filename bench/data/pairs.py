r"""The official `pairs.txt` form of LFW's view 2.

    10<TAB>300                                folds, and pairs of each kind in a fold
    Abel_Pacheco<TAB>1<TAB>4                  genuine: a name and two image numbers, 300 lines
    Abdel_Madi_Shabneh<TAB>1<TAB>Dean_Barker<TAB>1     impostor: two names with a number each, 300 lines
    ...                                       and so on for each fold

A header with one number is one fold, as in `pairsDevTest.txt`. Image numbers start at 1 and name the files
`Abel_Pacheco/Abel_Pacheco_0001`.

Source: http://vis-www.cs.umass.edu/lfw/README.txt, "pairs.txt format".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.faces import FaceSet, PairProtocol
from bench.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class NamedPair:
    """One line of a pairs file.

    Args:
        left: name and image number, from 1.
        right: name and image number, from 1.
        fold: from 0.
        line: where it stands in its file, from 1.
    """

    left: tuple[str, int]
    right: tuple[str, int]
    fold: int
    line: int

    @property
    def same(self) -> bool:
        """Both images show one person."""
        return self.left[0] == self.right[0]


def image_name(identity: str, number: int) -> str:
    """`Abel_Pacheco`, 1 -> `Abel_Pacheco/Abel_Pacheco_0001`."""
    return f"{identity}/{identity}_{number:04d}"


def write_pairs(path: Path, protocol: PairProtocol) -> None:
    """Write a protocol whose folds all have the same number n of genuine and of impostor pairs.

    Raises:
        ValueError: unequal folds, or images without names.
    """
    faces = protocol.faces
    if len(faces.names) != len(faces):
        raise ValueError(f"protocol {protocol.name!r}: every image needs a name to be written as a pair")
    num_folds = int(protocol.fold.max()) + 1
    counts = {
        (fold, same): int(np.sum((protocol.fold == fold) & (protocol.same == same)))
        for fold in range(num_folds)
        for same in (True, False)
    }
    if len(set(counts.values())) != 1:
        raise ValueError(f"protocol {protocol.name!r}: pairs.txt needs equal folds, but has {counts}")
    lines = [f"{num_folds}\t{counts[0, True]}"]
    for fold in range(num_folds):
        for same in (True, False):
            for pair in np.flatnonzero((protocol.fold == fold) & (protocol.same == same)):
                left, right = (
                    _split_name(faces.names[index[pair]]) for index in (protocol.left, protocol.right)
                )
                columns = (*left, right[1]) if same else (*left, *right)
                lines.append("\t".join(str(column) for column in columns))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _split_name(name: str) -> tuple[str, int]:
    identity, _, file_name = name.partition("/")
    return identity, int(file_name.rpartition("_")[2])


def read_pairs(path: Path) -> list[NamedPair]:
    """Read a pairs file.

    Raises:
        UserError: `file:line: problem`, for everything that is not of the official form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: does not exist; it should hold pairs in the form of LFW's pairs.txt"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path}:1: is not UTF-8 text; it should be of the form of LFW's pairs.txt") from None
    lines = text.rstrip().splitlines()
    num_folds, per_kind = _read_header(path, lines)
    expected = 2 * num_folds * per_kind
    if len(lines) - 1 != expected:
        raise UserError(
            f"{path}:1: the header promises {num_folds} x ({per_kind} + {per_kind}) = {expected} pairs, "
            f"but {len(lines) - 1} follow"
        )
    pairs = []
    for index, line in enumerate(lines[1:]):
        fold, position = divmod(index, 2 * per_kind)
        pairs.append(_read_pair(path, index + 2, line, fold, genuine=position < per_kind))
    return pairs


def _read_header(path: Path, lines: Sequence[str]) -> tuple[int, int]:
    words = lines[0].split() if lines else []
    if len(words) not in (1, 2) or not all(word.isdecimal() and int(word) > 0 for word in words):
        found = repr(lines[0]) if lines else "an empty file"
        raise UserError(
            f"{path}:1: the header must be 'folds<TAB>pairs of each kind', such as '10\\t300'; got {found}"
        )
    return (int(words[0]), int(words[1])) if len(words) == 2 else (1, int(words[0]))


def _read_pair(path: Path, number: int, line: str, fold: int, *, genuine: bool) -> NamedPair:
    words = line.split("\t") if "\t" in line else line.split()
    words = [word.strip() for word in words]
    wanted, form = (3, "name, number, number") if genuine else (4, "name, number, name, number")
    if len(words) != wanted or not all(words):
        kind = "a genuine" if genuine else "an impostor"
        raise UserError(
            f"{path}:{number}: {kind} pair ({form}) must stand here, "
            f"but there are {len(words)} columns: {line!r}"
        )
    left = words[0], _image_number(path, number, words[1])
    right = words[0 if genuine else 2], _image_number(path, number, words[-1])
    if genuine and left == right:
        raise UserError(f"{path}:{number}: a genuine pair needs two images, but both are {left[0]} {left[1]}")
    if not genuine and left[0] == right[0]:
        raise UserError(f"{path}:{number}: an impostor pair needs two people, but both are {left[0]}")
    return NamedPair(left, right, fold, number)


def _image_number(path: Path, number: int, word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise UserError(f"{path}:{number}: an image number counts from 1, but got {word!r}")
    return int(word)


def load_protocol(path: Path, faces: FaceSet, *, name: str) -> PairProtocol:
    """Read a pairs file and find its images among `faces`.

    Raises:
        UserError: as `read_pairs`, or a pair names an image that is not there.
    """
    pairs = read_pairs(path)
    index = {image: position for position, image in enumerate(faces.names)}

    def find(pair: NamedPair, identity: str, number: int) -> int:
        found = index.get(image_name(identity, number))
        if found is None:
            hint = "" if identity in faces.identities else did_you_mean(identity, faces.identities)
            raise UserError(f"{path}:{pair.line}: there is no image {number} of {identity!r}{hint}")
        return found

    return PairProtocol(
        name=name,
        faces=faces,
        left=np.array([find(pair, *pair.left) for pair in pairs], np.int64),
        right=np.array([find(pair, *pair.right) for pair in pairs], np.int64),
        same=np.array([pair.same for pair in pairs], np.bool_),
        fold=np.array([pair.fold for pair in pairs], np.int64),
    )
