"""Serves /_local: health, usage, settings and faults."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any
from urllib.parse import parse_qs

from local_aws.api.call import Services
from local_aws.api.errors import SerializationError
from local_aws.api.json_protocol import Environ, StartResponse, parse_json, read_body
from local_aws.faults import FaultError
from local_aws.usage import list_usage


class AdminError(Exception):
    """A response other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AdminApplication:
    """The WSGI application behind /_local/."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._routes: dict[tuple[str, str], Callable[[Environ], Any]] = {
            ("GET", "/_local/health"): self._health,
            ("GET", "/_local/usage"): self._usage,
            ("GET", "/_local/settings"): self._settings,
            ("GET", "/_local/faults"): self._list_faults,
            ("POST", "/_local/faults"): self._arm_fault,
            ("DELETE", "/_local/faults"): self._disarm_faults,
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Respond with JSON; errors are {"error": text}."""
        try:
            status, answer = 200, self._route(environ)(environ)
        except AdminError as error:
            status, answer = error.status, {"error": str(error)}
        except (FaultError, SerializationError) as error:
            status, answer = 400, {"error": str(error)}
        body = json.dumps(answer, indent=1).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{status} {responses[status]}", headers)
        return [body]

    def _route(self, environ: Environ) -> Callable[[Environ], Any]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].rstrip("/")
        route = self._routes.get((method, path))
        if route is not None:
            return route
        known = sorted({known_path for _, known_path in self._routes})
        if path in known:
            raise AdminError(405, f"{path} does not take {method}")
        raise AdminError(404, f"no such page: {path}; the pages are {', '.join(known)}")

    def _health(self, _environ: Environ) -> dict[str, Any]:
        jobs = self._services.store.jobs.list_active()
        return {"status": "ok", "active_jobs": dict(Counter(job.status for job in jobs))}

    def _settings(self, _environ: Environ) -> dict[str, Any]:
        return self._services.settings.model_dump(mode="json")

    def _usage(self, environ: Environ) -> dict[str, Any]:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        conditions, values = ["instr(name, ?) > 0"], [query.get("name_contains", [""])[0]]
        if "kind" in query:
            conditions.append("kind = ?")
            values.append(query["kind"][0])
        store = self._services.store.jobs
        jobs = store.select(" AND ".join(conditions), values, "ORDER BY created_at, name_key")
        rows = []
        for usage, job in zip(list_usage(jobs, self._services.settings), jobs, strict=True):
            progress = self._services.supervisor.get_progress(job)
            done, total = (progress.objects_done, progress.objects_total) if progress else (None, None)
            rows.append({**usage, "objects_done": done, "objects_total": total})
        return {"jobs": rows}

    def _list_faults(self, _environ: Environ) -> dict[str, Any]:
        return {"faults": self._services.faults.list_faults()}

    def _arm_fault(self, environ: Environ) -> dict[str, Any]:
        return self._services.faults.arm(parse_json(read_body(environ)))

    def _disarm_faults(self, environ: Environ) -> dict[str, Any]:
        name = parse_qs(environ.get("QUERY_STRING", "")).get("name", [None])[0]
        return {"disarmed": self._services.faults.disarm(name)}
