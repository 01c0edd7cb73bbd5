"""A small SageMaker over HTTP whose jobs change state only when a test says so.

It answers the operations that the package calls, in AWS's JSON 1.1 form and with AWS's error texts. A test scripts what
goes wrong: ``refuse`` (an error answer), ``drop_response`` (the call is carried out, its answer lost), ``delays``
(seconds by operation until an answer is sent).
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"


class RefusalError(Exception):
    """An error answer of AWS."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class FakeSageMaker:
    """The service: ``calls`` records (operation, request), ``jobs`` and ``models`` hold descriptions by name."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def reset(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.expired_keys: dict[str, tuple[str, int]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, str]] = defaultdict(dict)
        self.script: dict[str, deque[RefusalError | str]] = defaultdict(deque)
        self.delays: dict[str, float] = {}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # --- what a test scripts and asks -------------------------------------------------------------------------

    def refuse(self, operation: str, code: str, message: str, *, status: int = 400, times: int = 1) -> None:
        self.script[operation].extend([RefusalError(code, message, status)] * times)

    def expire_access_key(self, key: str, code: str = "ExpiredTokenException", *, status: int = 400) -> None:
        """Refuse whatever is signed with this access key from now on."""
        self.expired_keys[key] = (code, status)

    def drop_response(self, operation: str, *, times: int = 1) -> None:
        self.script[operation].extend(["cut after"] * times)

    def drop_request(self, operation: str, *, times: int = 1) -> None:
        self.script[operation].extend(["cut before"] * times)

    def end(self, name: str, status: str = "Completed", *, ran: float = 60.0, **fields: Any) -> None:
        """Let a job end after ``ran`` seconds of billed time."""
        with self.lock:
            job = self.jobs[name]
            kind = _kind_of(job)
            now = time.time()
            job |= {
                f"{kind}JobStatus": status,
                f"{kind}StartTime": now - ran,
                f"{kind}EndTime": now,
                **fields,
            }

    def count(self, operation: str) -> int:
        return sum(called == operation for called, _ in self.calls)

    def status(self, name: str) -> str:
        job = self.jobs[name]
        return str(job[f"{_kind_of(job)}JobStatus"])

    # --- the operations -----------------------------------------------------------------------------------------

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        for kind in ("Processing", "Transform"):
            if operation == f"Create{kind}Job":
                return self._create(kind, request)
            if operation == f"Describe{kind}Job":
                return self._job(kind, request)
            if operation == f"Stop{kind}Job":
                return self._stop(kind, request)
            if operation == f"List{kind}Jobs":
                return self._list(kind, request)
        return getattr(self, f"_{operation}")(request)

    def _create(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        name = request[f"{kind}JobName"]
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.lower()}-job/{name.lower()}"
        if name in self.jobs:
            raise RefusalError(
                "ResourceInUse",
                "Job name must be unique within an AWS account and region, and a job with this name already exists "
                f"({arn})",
            )
        if kind == "Transform" and request["ModelName"] not in self.models:
            raise RefusalError("ValidationException", f'Could not find model "{request["ModelName"]}".')
        self.jobs[name] = {
            **{key: value for key, value in request.items() if key != "Tags"},
            f"{kind}JobArn": arn,
            f"{kind}JobStatus": "InProgress",
            "CreationTime": time.time(),
        }
        self.tags[arn] |= {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        return {f"{kind}JobArn": arn}

    def _job(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        name = request[f"{kind}JobName"]
        job = self.jobs.get(name)
        if job is None or f"{kind}JobName" not in job:
            raise RefusalError("ValidationException", f"Could not find requested job with name: {name}")
        return job

    def _stop(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        job = self._job(kind, request)
        status = job[f"{kind}JobStatus"]
        if status not in {"InProgress", "Stopping"}:
            raise RefusalError(
                "ValidationException",
                f"The request was rejected because the {kind.lower()} job is in status {status}",
            )
        job[f"{kind}JobStatus"] = "Stopping"
        return {}

    def _list(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        part, status = request.get("NameContains", ""), request.get("StatusEquals")
        found = [
            {key: job[key] for key in (f"{kind}JobName", f"{kind}JobArn", f"{kind}JobStatus", "CreationTime")}
            for name, job in sorted(self.jobs.items())
            if f"{kind}JobName" in job and part in name and status in (None, job[f"{kind}JobStatus"])
        ]
        start, size = int(request.get("NextToken", 0)), request.get("MaxResults", 10)
        more = {"NextToken": str(start + size)} if len(found) > start + size else {}
        return {f"{kind}JobSummaries": found[start : start + size], **more}

    def _CreateModel(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelName"]
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/{name.lower()}"
        if name in self.models:
            raise RefusalError("ValidationException", f'Cannot create already existing model "{arn}".')
        self.tags[arn] |= {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        self.models[name] = {**request, "ModelArn": arn, "CreationTime": time.time()}
        return {"ModelArn": arn}

    def _DescribeModel(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["ModelName"] not in self.models:
            raise RefusalError("ValidationException", f'Could not find model "{request["ModelName"]}".')
        return self.models[request["ModelName"]]

    def _DeleteModel(self, request: dict[str, Any]) -> dict[str, Any]:
        self._DescribeModel(request)
        del self.models[request["ModelName"]]
        return {}

    def _ListModels(self, request: dict[str, Any]) -> dict[str, Any]:
        part = request.get("NameContains", "")
        models = [model for name, model in sorted(self.models.items()) if part in name]
        return {
            "Models": [{key: m[key] for key in ("ModelName", "ModelArn", "CreationTime")} for m in models]
        }

    def _AddTags(self, request: dict[str, Any]) -> dict[str, Any]:
        self.tags[request["ResourceArn"]] |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        return {"Tags": request["Tags"]}

    def _ListTags(self, request: dict[str, Any]) -> dict[str, Any]:
        tags = self.tags[request["ResourceArn"]]
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _kind_of(job: dict[str, Any]) -> str:
    return "Processing" if "ProcessingJobName" in job else "Transform"


def _handler_of(fake: FakeSageMaker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            """Keep the tests' output quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].split(".")[1]
            request = json.loads(body or b"{}")
            with fake.lock:
                fake.calls.append((operation, request))
                delay = fake.delays.get(operation, 0.0)
                key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
                refused = fake.expired_keys.get(key)
                due = fake.script[operation] and refused is None
                scripted = fake.script[operation].popleft() if due else None
                try:
                    if refused is not None:
                        raise RefusalError(
                            refused[0], f"The security token of {key} is not valid", refused[1]
                        )
                    if isinstance(scripted, RefusalError):
                        raise scripted
                    status, answer = 200, {} if scripted == "cut before" else fake.answer(operation, request)
                except RefusalError as refusal:
                    status, answer = refusal.status, {"__type": refusal.code, "message": refusal.message}
                data = json.dumps(answer).encode()
            time.sleep(delay)
            if isinstance(scripted, str):
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def quota_message(limit: int, *, in_use: int, wanted: int) -> str:
    """AWS's words for a quota that has no room."""
    return (
        f"The account-level service limit 'ml.m5.large for processing job usage' is {limit} Instances, with current "
        f"utilization of {in_use} Instances and a request delta of {wanted} Instances. Please use AWS Service Quotas "
        "to request an increase for this quota."
    )
