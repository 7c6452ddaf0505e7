"""What can be said of Ray without a cluster."""

from __future__ import annotations

import sys

import pytest

from bench.errors import UserError
from bench.study.launch_ray import join_cluster


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as caught, join_cluster():
        pass
    assert str(caught.value) == ("--launcher ray: needs the package ray; pip install 'faceloss-bench[ray]'")
