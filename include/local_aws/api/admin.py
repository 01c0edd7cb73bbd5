"""/_local: health, usage and faults; for this machine's user only."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from include.local_aws.api.call import Services
from include.local_aws.faults import FaultError
from include.local_aws.usage import usage

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
STATUS = {200: "200 OK", 400: "400 Bad Request", 403: "403 Forbidden", 404: "404 Not Found", 405: "405 No"}
MAX_BODY = 1_000_000


class AdminError(Exception):
    """An answer other than 200."""

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
        """Answer with JSON; errors are {"error": text}."""
        try:
            _require_local(environ)
            status, answer = 200, self._route(environ)(environ)
        except AdminError as error:
            status, answer = error.status, {"error": str(error)}
        except FaultError as error:
            status, answer = 400, {"error": str(error)}
        body = json.dumps(answer, indent=1).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(STATUS[status], headers)
        return [body]

    def _route(self, environ: Environ) -> Callable[[Environ], Any]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].rstrip("/")
        route = self._routes.get((method, path))
        if route is not None:
            return route
        known = sorted({known_path for _, known_path in self._routes})
        if path in known:
            raise AdminError(405, f"{path} does not take {method}")
        raise AdminError(404, f"no such page: {path}; there are {', '.join(known)}")

    def _health(self, _environ: Environ) -> dict[str, Any]:
        jobs = self._services.store.jobs.active()
        return {"status": "ok", "active_jobs": dict(Counter(job.status for job in jobs))}

    def _settings(self, _environ: Environ) -> dict[str, Any]:
        return self._services.settings.model_dump(mode="json")

    def _usage(self, environ: Environ) -> dict[str, Any]:
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        conditions, values = ["instr(name, ?) > 0"], [asked.get("name_contains", [""])[0]]
        if "kind" in asked:
            conditions.append("kind = ?")
            values.append(asked["kind"][0])
        store = self._services.store.jobs
        jobs = store.select(" AND ".join(conditions), values, "ORDER BY created_at, name_key")
        rows = usage(jobs, self._services.settings)
        for row, job in zip(rows, jobs, strict=True):
            progress = self._services.supervisor.progress(job)
            row["objects_done"] = progress.objects_done if progress else None
            row["objects_total"] = progress.objects_total if progress else None
        return {"jobs": rows}

    def _list_faults(self, _environ: Environ) -> dict[str, Any]:
        return {"faults": self._services.faults.listed()}

    def _arm_fault(self, environ: Environ) -> dict[str, Any]:
        body = environ["wsgi.input"].read(min(MAX_BODY, int(environ.get("CONTENT_LENGTH") or 0)))
        try:
            data = json.loads(body)
        except ValueError as error:
            raise AdminError(400, f"the body is not JSON: {error}") from error
        return self._services.faults.arm(data)

    def _disarm_faults(self, environ: Environ) -> dict[str, Any]:
        name = parse_qs(environ.get("QUERY_STRING", "")).get("name", [None])[0]
        return {"disarmed": self._services.faults.disarm(name)}


def _require_local(environ: Environ) -> None:
    address = environ.get("REMOTE_ADDR", "")
    if not ipaddress.ip_address(address).is_loopback:
        raise AdminError(403, f"/_local answers on loopback only, not to {address}")
    if "HTTP_ORIGIN" in environ:
        # A page in a browser must not be able to arm faults.
        raise AdminError(403, "/_local does not answer pages of a browser")
