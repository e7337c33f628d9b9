"""Expect a fault by its code and the facts it names, so that its sentence can be improved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mlops_kit.errors import KitError


@contextmanager
def fails(code: str, *facts: object) -> Iterator[pytest.ExceptionInfo[KitError]]:
    """Expect a fault of this code, or of one below it, whose message names each fact.

    A fact is a name, a number, a path or a value, never words of the sentence.
    """
    with pytest.raises(KitError) as caught:
        yield caught
    assert f"{caught.value.code}.".startswith(f"{code}."), (caught.value.code, str(caught.value))
    for fact in facts:
        assert str(fact) in str(caught.value)
