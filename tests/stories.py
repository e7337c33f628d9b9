"""Modules that tell one story: whoever asks for one of their tests gets those before it, in order.

A browser's page goes from state to state, and making each state anew for each test would cost
minutes. So a module marked `story` says that its tests follow one another.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

# By module: its tests as they were found, also those that nobody asked for.
_Found = pytest.StashKey[dict[str, pytest.Item]]()


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector):  # type: ignore[no-untyped-def]
    """Remember each test of a story in its place."""
    made = yield
    if isinstance(made, list):
        found = collector.stash.setdefault(_Found, {})
        found.update({item.nodeid: item for item in made if is_told(item)})
    return made


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]):  # type: ignore[no-untyped-def]
    """Bring what comes before; last of all, after a choice by -k and a change of the order."""
    result = yield
    items[:] = told(items)
    return result


def is_told(item: object) -> bool:
    return isinstance(item, pytest.Item) and item.get_closest_marker("story") is not None


def told(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with each story at the place of its first, up to the last that is asked."""
    asked = list(items)
    names = {item.nodeid for item in asked}
    ordered: list[pytest.Item] = []
    begun = set()
    for item in asked:
        if not is_told(item):
            ordered.append(item)
        elif item.parent is not None and item.parent not in begun:
            begun.add(item.parent)
            every = list(item.parent.stash[_Found].values())
            last = max(place for place, each in enumerate(every) if each.nodeid in names)
            ordered += every[: last + 1]
    return ordered
