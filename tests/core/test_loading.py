"""Libraries come in without a search for garbage, and it is sought as before when they are there."""

import gc
from collections.abc import Iterator

import pytest

from neftune_core.loading import libraries


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    gc.enable()


@pytest.mark.parametrize("before_all", [True, False])
def test_garbage_is_sought_again_after_an_import_and_after_one_that_fails(before_all: bool) -> None:
    with libraries(before_all=before_all):
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), libraries(before_all=before_all):
        raise ImportError
    assert gc.isenabled()


def test_whoever_had_it_off_keeps_it_off() -> None:
    gc.disable()
    with libraries(before_all=False):
        pass
    assert not gc.isenabled()


def test_only_what_comes_before_all_else_is_never_searched_again() -> None:
    class Model:
        pass

    model = Model()
    with libraries(before_all=False):
        assert any(one is model for one in gc.get_objects())
    assert any(one is model for one in gc.get_objects())
    with libraries(before_all=True):
        pass
    assert not any(one is model for one in gc.get_objects())
