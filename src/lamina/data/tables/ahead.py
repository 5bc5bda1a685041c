"""Work on the next blocks of a file in threads while this one is used, and take the results in the file's order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_MOST = 8


def cores() -> int:
    """Return how many cores this process may use, at most eight: more blocks at once would cost memory.

    Returns:
        At least 1.
    """
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        n = os.cpu_count() or 1
    return min(n, _MOST)


def in_order(
    items: Iterator[_Item], job: Callable[[_Item], Callable[[], _Result]], workers: int
) -> Iterator[tuple[_Item, _Result]]:
    """Do a job for each item, some ahead of their turn.

    What goes wrong is raised at its place in the order: an error in item 3 before one in reading item 4.

    Args:
        items: The items; read in the calling thread.
        job: Called in the calling thread when an item is taken up; what it returns is run in another thread.
        workers: How many threads; with one, all is done in the calling thread.

    Yields:
        Each item with its result.
    """
    if workers < 2:
        for item in items:
            yield item, job(item)()
        return
    pending: deque[tuple[_Item, Future[_Result]]] = deque()
    failure: BaseException | None = None
    with ThreadPoolExecutor(workers, thread_name_prefix="table") as pool:
        try:
            while True:
                while failure is None and len(pending) <= workers:
                    try:
                        item = next(items)
                    except StopIteration:
                        break
                    except Exception as error:
                        failure = error
                        break
                    pending.append((item, pool.submit(job(item))))
                if not pending:
                    break
                item, future = pending.popleft()
                yield item, future.result()
        finally:
            for _, future in pending:
                future.cancel()
    if failure is not None:
        raise failure
