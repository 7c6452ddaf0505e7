"""A journal that is not Optuna's, or no longer, is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.study.storage import open_journal_to_read, open_place, repair_journal

from ...conftest import Injected


@pytest.mark.parametrize("line", [b'{"op_code": 4}\n', b'{"op_code": 99}\n', b'{"study": 3}\n'])
def test_lines_that_are_not_optunas_are_one_message(tmp_path: Path, line: bytes, injected: Injected) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(line)
    injected("a journal with lines that are not Optuna's", "nothing: it is named and left as it is")
    message = (
        f"^{re.escape(str(path))}: is no journal of Optuna's, or a damaged one \\(.*; move it away to start"
    )
    with pytest.raises(UserError, match=message):
        open_journal_to_read(path)
    with pytest.raises(UserError, match=message), open_place(None, tmp_path, lambda _: None):
        pass
    assert path.read_bytes() == line


def test_a_line_in_the_middle_that_is_torn_is_named_and_nothing_dropped(
    tmp_path: Path, injected: Injected
) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(b'{"op_code": 0}\n{"op_co\n{"op_code": 0}\n')
    injected("a journal damaged in its middle", "nothing: the line is named")
    with pytest.raises(UserError) as raised:
        repair_journal(path, lambda _: None)
    assert str(raised.value) == (
        f"{path}:2: damaged: not a line of Optuna's journal; delete that line, or move the file away to "
        "start the study anew"
    )
    assert len(path.read_bytes().splitlines()) == 3
