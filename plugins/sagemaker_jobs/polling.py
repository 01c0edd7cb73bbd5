"""One client and one budget of calls for all the jobs that wait in a triggerer.

A client of its own for each waiting job would cost a second of the event loop and tens of megabytes each, and
five hundred jobs that are described every few seconds are throttled. So all triggers of one connection share
a client; their calls are paced; and from a handful of jobs on, List is asked which of them run instead of
describing each.
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

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from sagemaker_jobs.aws import client_of, is_transient, sibling, with_fresh_credentials
from sagemaker_jobs.progress import OUT, count_objects, folder_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sagemaker_jobs.kinds import JobKind

log = logging.getLogger(__name__)

CALLS_PER_SECOND = 12.0
LIST_FROM = 8  # waiting jobs of a kind from which a List of up to a hundred is cheaper than so many Describes
LIST_FRESH_SECONDS = 2.0
COUNT_UP_TO = 50  # waiting jobs whose progress is counted in S3
_LIST_PAGE = 100
_MOST_PAGES = 20  # an account with thousands of jobs in progress: describing ours is cheaper


class Pacer:
    """Lets callers through one after the other, ``per_second`` at most."""

    def __init__(self, per_second: float) -> None:
        self.pause = 1.0 / per_second
        self._next = 0.0

    async def turn(self) -> None:
        """Return when it is this caller's turn."""
        now = time.monotonic()
        mine = max(now, self._next)
        self._next = mine + self.pause
        if mine > now:
            await asyncio.sleep(mine - now)


@dataclass
class _Sweep:
    """Which jobs of a kind were in progress at ``at``; ``lock`` lets one caller ask while the others wait."""

    at: float = float("-inf")
    running: frozenset[str] = frozenset()
    usable: bool = True
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Poller:
    """Looks at jobs through one shared, paced client; use it as ``async with shared_poller(…) as poller``."""

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._pacer = Pacer(CALLS_PER_SECOND)
        self._client: Any = None
        self._context: Any = None
        self._opening = asyncio.Lock()
        self._waiting: dict[JobKind, int] = {}
        self._sweeps: dict[JobKind, _Sweep] = {}
        self._s3: Any = None
        self._s3_lock = threading.Lock()
        self.users = 0

    async def call(self, operation: str, **arguments: Any) -> Any:
        """One paced call, such as ``call("describe_transform_job", TransformJobName="…")``."""
        client = await self._open()
        await self._pacer.turn()
        return await getattr(client, operation)(**arguments)

    async def describe(self, kind: JobKind, name: str) -> dict[str, Any]:
        """The job's description."""
        found: dict[str, Any] = await self.call(kind.describe, **{kind.name_field: name})
        return found

    def lists_rather(self, kind: JobKind) -> bool:
        """Whether so many jobs wait that one List for all of them costs less than describing each."""
        return self._waiting.get(kind, 0) >= LIST_FROM

    @property
    def counts_outputs(self) -> bool:
        """Whether so few jobs wait that the progress of each may be told."""
        return sum(self._waiting.values()) <= COUNT_UP_TO

    async def is_listed(self, kind: JobKind, name: str) -> bool | None:
        """Whether a List said a moment ago that the job is in progress; None where jobs cannot be listed.

        Lists once for all who ask within a few seconds.
        """
        sweep = self._sweeps.setdefault(kind, _Sweep())
        async with sweep.lock:
            if sweep.usable and time.monotonic() - sweep.at > LIST_FRESH_SECONDS:
                await self._sweep(kind, sweep)
        return name in sweep.running if sweep.usable else None

    @asynccontextmanager
    async def waiting_for(self, kind: JobKind) -> AsyncIterator[None]:
        """Count one more job of this kind, for the choice between Describe and List."""
        self._waiting[kind] = self._waiting.get(kind, 0) + 1
        try:
            yield
        finally:
            self._waiting[kind] -= 1

    async def count_outputs(self, uri: str) -> int | None:
        """Transform outputs below ``uri``; None while so many jobs wait that counting for each is too much.

        Through a boto3 client in a thread: it costs the event loop nothing.
        """
        if not self.counts_outputs:
            return None
        return await asyncio.to_thread(self._count_outputs, uri)

    def _count_outputs(self, uri: str) -> int | None:
        with self._s3_lock:
            if self._s3 is None:
                self._s3 = client_of(sibling(S3Hook, self._hook))
        return count_objects(self._s3, folder_of(uri), suffix=OUT)

    async def close(self) -> None:
        """Close the client's connections."""
        async with self._opening:
            context, self._client, self._context = self._context, None, None
            if context is not None:
                await context.__aexit__(None, None, None)

    async def _sweep(self, kind: JobKind, sweep: _Sweep) -> None:
        running: set[str] = set()
        page: dict[str, Any] = {}
        arguments = {"StatusEquals": "InProgress", "MaxResults": _LIST_PAGE}
        for _ in range(_MOST_PAGES):
            token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
            try:
                page = await self.call(kind.list_operation, **arguments, **token)
            except Exception as error:
                if not is_transient(error):
                    sweep.usable = False
                    log.warning("Jobs are described one by one, as they cannot be listed: %s", error)
                    return
                raise
            running |= {summary[kind.name_field] for summary in page[kind.list_key]}
            if "NextToken" not in page:
                break
        else:
            sweep.usable = False
            log.warning("Jobs are described one by one, as the account has thousands in progress.")
        sweep.running, sweep.at = frozenset(running), time.monotonic()

    async def _open(self) -> Any:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._context = await self._hook.get_async_conn()
                    client = await self._context.__aenter__()
                    self._client = with_fresh_credentials(self._hook, client)
        return self._client


_pollers: dict[tuple[int, str], Poller] = {}


@asynccontextmanager
async def shared_poller(hook: Any, **settings: Any) -> AsyncIterator[Poller]:
    """This event loop's poller for ``settings`` (connection, region, …); its last user closes it.

    ``hook`` is used to build the client if nobody has yet.
    """
    key = (id(asyncio.get_running_loop()), json.dumps(settings, sort_keys=True, default=str))
    poller = _pollers.get(key)
    if poller is None:
        poller = _pollers[key] = Poller(hook)
    poller.users += 1
    try:
        yield poller
    finally:
        poller.users -= 1
        if poller.users == 0:
            _pollers.pop(key, None)
            await poller.close()
