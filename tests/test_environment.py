import os

import pytest

from normlab.environment import environment


def test_variables_are_set_within_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMLAB_TEST_OLD", "old")
    monkeypatch.setenv("NORMLAB_TEST_GONE", "there")
    monkeypatch.delenv("NORMLAB_TEST_NEW", raising=False)
    names = ("NORMLAB_TEST_OLD", "NORMLAB_TEST_GONE", "NORMLAB_TEST_NEW")
    values = dict(zip(names, ("other", None, "new"), strict=True))

    def within() -> None:
        with environment(values):
            assert [os.environ.get(name) for name in names] == ["other", None, "new"]
            raise KeyError

    with pytest.raises(KeyError):
        within()
    assert [os.environ.get(name) for name in names] == ["old", "there", None]
