"""Polls all jobs that wait in a triggerer through one shared, rate-limited client.

A separate client for each waiting job would cost a second of the event loop and tens of megabytes, and describing five
hundred jobs every few seconds is throttled. So all triggers of one connection share a client and a rate limit, and
from ``MIN_JOBS_TO_LIST`` jobs on one List call replaces the Describe calls of the running ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_jobs.aws import attach_credential_renewal, is_transient_error
from sagemaker_jobs.s3 import OUTPUT_SUFFIX, get_s3_client, to_folder_uri
from sagemaker_jobs.waiting.transform_progress import count_objects

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_jobs.kinds import JobKind

log = logging.getLogger(__name__)

CALLS_PER_SECOND = 12.0
# Waiting jobs of a kind from which one List of up to a hundred is cheaper than describing each.
MIN_JOBS_TO_LIST = 8
LIST_MAX_AGE_SECONDS = 2.0
MAX_JOBS_TO_COUNT = 50  # waiting jobs whose progress is counted in S3
_LIST_PAGE = 100
_MAX_LIST_PAGES = 20  # with thousands of jobs in progress in the account, describing ours is cheaper


class RateLimiter:
    """Limits callers to ``per_second``, in the order in which they ask; all of one event loop.

    Turns are given as they come, not ahead: after a stall of the loop the callers do not all go at once.
    """

    def __init__(self, per_second: float) -> None:
        self.interval_seconds = 1.0 / per_second
        self._next_free_at = 0.0
        self._turn = asyncio.Lock()  # first come, first served

    async def acquire(self) -> None:
        """Wait for this caller's turn."""
        async with self._turn:
            seconds = self._next_free_at - time.monotonic()
            if seconds > 0:
                await asyncio.sleep(seconds)
            self._next_free_at = time.monotonic() + self.interval_seconds


@dataclass
class _RunningJobs:
    """The jobs of a kind in progress at ``listed_at``; ``lock`` lets one caller list while the others wait."""

    listed_at: float = float("-inf")
    running: frozenset[str] = frozenset()
    usable: bool = True
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Poller:
    """Polls jobs through one shared, rate-limited client; use ``async with open_shared_poller(…) as poller``."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._rate_limiter = RateLimiter(CALLS_PER_SECOND)
        self._client: Any = None
        self._context: Any = None
        self._opening = asyncio.Lock()
        self._waiting_counts: dict[JobKind, int] = {}
        self._running_jobs: dict[JobKind, _RunningJobs] = {}
        self._s3: Any = None
        self._s3_lock = threading.Lock()
        self.user_count = 0

    async def call(self, operation: str, **arguments: Any) -> Any:
        """One rate-limited call, such as ``call("describe_transform_job", TransformJobName="…")``."""
        client = await self._open()
        await self._rate_limiter.acquire()
        return await getattr(client, operation)(**arguments)

    async def describe(self, kind: JobKind, name: str) -> dict[str, Any]:
        """The job's description."""
        found: dict[str, Any] = await self.call(kind.describe_method, **{kind.name_field: name})
        return found

    def should_list_jobs(self, kind: JobKind) -> bool:
        """Whether enough jobs wait that one List for all costs less than describing each."""
        return self._waiting_counts.get(kind, 0) >= MIN_JOBS_TO_LIST

    @property
    def should_count_outputs(self) -> bool:
        """Whether few enough jobs wait to count the outputs of each."""
        return sum(self._waiting_counts.values()) <= MAX_JOBS_TO_COUNT

    async def is_listed(self, kind: JobKind, name: str) -> bool | None:
        """Whether a recent List had the job in progress; None if jobs cannot be listed.

        One List serves all callers for ``LIST_MAX_AGE_SECONDS``.
        """
        sweep = self._running_jobs.setdefault(kind, _RunningJobs())
        async with sweep.lock:
            if sweep.usable and time.monotonic() - sweep.listed_at > LIST_MAX_AGE_SECONDS:
                await self._list_running_jobs(kind, sweep)
        return name in sweep.running if sweep.usable else None

    @asynccontextmanager
    async def register_waiting_job(self, kind: JobKind) -> AsyncIterator[None]:
        """Count a waiting job of this kind while the context is open, for the choice between Describe and List."""
        self._waiting_counts[kind] = self._waiting_counts.get(kind, 0) + 1
        try:
            yield
        finally:
            self._waiting_counts[kind] -= 1

    async def count_outputs(self, uri: str) -> int | None:
        """The number of transform outputs below ``uri``; None while too many jobs wait to count for each.

        Uses a boto3 client in a thread, so the event loop is not blocked.
        """
        if not self.should_count_outputs:
            return None
        return await asyncio.to_thread(self._count_outputs, uri)

    def _count_outputs(self, uri: str) -> int | None:
        with self._s3_lock:
            if self._s3 is None:
                self._s3 = get_s3_client(self._hook)
        return count_objects(self._s3, to_folder_uri(uri), suffix=OUTPUT_SUFFIX)

    async def close(self) -> None:
        """Close the client's connections."""
        async with self._opening:
            context, self._client, self._context = self._context, None, None
            if context is not None:
                await context.__aexit__(None, None, None)

    async def _list_running_jobs(self, kind: JobKind, sweep: _RunningJobs) -> None:
        running: set[str] = set()
        arguments = {"StatusEquals": "InProgress", "MaxResults": _LIST_PAGE}
        for _ in range(_MAX_LIST_PAGES):
            try:
                page = await self.call(kind.list_method, **arguments)
            except Exception as error:
                if is_transient_error(error):
                    raise
                sweep.usable = False
                log.warning("Cannot list jobs, so each is described: %s", error)
                return
            running |= {summary[kind.name_field] for summary in page[kind.summaries_field]}
            if "NextToken" not in page:
                break
            arguments["NextToken"] = page["NextToken"]
        else:
            sweep.usable = False
            log.warning("The account has thousands of jobs in progress, so each of ours is described.")
        sweep.running, sweep.listed_at = frozenset(running), time.monotonic()

    async def _open(self) -> Any:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._context = await self._hook.get_async_conn()
                    client = await self._context.__aenter__()
                    self._client = attach_credential_renewal(self._hook, client)
        return self._client


_pollers: dict[tuple[int, str], Poller] = {}


@asynccontextmanager
async def open_shared_poller(hook: Any, **settings: Any) -> AsyncIterator[Poller]:
    """This event loop's poller for ``settings`` (connection, region, …); closed when its last user leaves.

    ``hook`` builds the client on first use.
    """
    key = (id(asyncio.get_running_loop()), json.dumps(settings, sort_keys=True, default=str))
    poller = _pollers.get(key)
    if poller is None:
        poller = _pollers[key] = Poller(hook)
    poller.user_count += 1
    try:
        yield poller
    finally:
        poller.user_count -= 1
        if poller.user_count == 0:
            _pollers.pop(key, None)
            await poller.close()
