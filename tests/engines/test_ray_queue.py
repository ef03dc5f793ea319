"""Which work a worker is given next."""

from __future__ import annotations

import pytest

from plugin.engines.ray import WorkQueue


def make_queue(
    n: int, batch_size: int = 32, n_workers: int = 2, kinds: str = "ab"
) -> WorkQueue[str]:
    """Work of several kinds, side by side as cases are: a0, b0, a1, b1, ..."""
    items = [f"{kind}{number}" for number in range(n) for kind in kinds]
    return WorkQueue(items, lambda item: item[0], batch_size, n_workers)


def all_batches(queue: WorkQueue[str]) -> list[list[str]]:
    found = []
    while batch := queue.next_batch():
        found.append(batch)
    return found


def test_everything_is_given_once_and_in_order() -> None:
    found = all_batches(make_queue(1000))
    for kind in "ab":
        given = [item for batch in found for item in batch if item[0] == kind]
        assert given == [f"{kind}{number}" for number in range(1000)]


def test_a_batch_is_of_one_kind_and_the_kinds_come_along_side_by_side() -> None:
    found = all_batches(make_queue(1000))
    assert all(len({item[0] for item in batch}) == 1 for batch in found)
    assert [batch[0][0] for batch in found[:4]] == ["a", "b", "a", "b"]


def test_batches_shrink_and_are_neither_huge_nor_tiny() -> None:
    sizes = [len(batch) for batch in all_batches(make_queue(1000, batch_size=32))]
    assert max(sizes) == sizes[0] == 4 * 32
    assert sorted(sizes, reverse=True) == sizes
    assert min(sizes[:-2]) >= 32 / 4


@pytest.mark.parametrize(("n", "n_workers", "at_least"), [(60, 2, 4), (10, 4, 2), (1, 2, 2)])
def test_little_work_is_divided_too(n: int, n_workers: int, at_least: int) -> None:
    assert len(all_batches(make_queue(n, n_workers=n_workers))) >= at_least


def test_what_is_put_back_comes_next() -> None:
    queue = make_queue(8, batch_size=4, kinds="a")
    taken = queue.next_batch()
    queue.requeue(taken[1:])
    assert len(queue) == 7
    assert queue.next_batch()[0] == "a1"
