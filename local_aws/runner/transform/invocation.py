"""Sends one request with retries; maps its failure to the failure of its object and of the job."""

from __future__ import annotations

from local_aws.runner.data.s3_objects import S3Address
from local_aws.runner.failures import AlgorithmFailedError, ClientFailedError, JobFailedError
from local_aws.runner.job_context import JobContext
from local_aws.runner.transform.client import (
    ContainerResponse,
    InferencePipelineClient,
    NoResponseError,
    ResponseTimeoutError,
    build_input_object_headers,
)
from local_aws.runner.transform.shared_cpu import SharedCpu
from local_aws.runner.transform.spool import RequestBody
from local_aws.runner.transform.transform_request import TransformRequest
from local_aws.runner.usage_meter import UsageMeter

MAX_MESSAGE_BYTES = 4096
NO_RESPONSE = "Unable to get response from algorithm"


class ObjectFailedError(Exception):
    """The object fails. `lines` go to the data-log, `failure` is the failure of the job."""

    def __init__(self, failure: JobFailedError, lines: list[str]) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.lines = lines


def invoke_with_retries(
    job: JobContext,
    meter: UsageMeter,
    cpu: SharedCpu,
    client: InferencePipelineClient,
    body: RequestBody,
    request: TransformRequest,
    input_address: S3Address,
) -> ContainerResponse:
    """The 2xx response for records of `input_address`; `meter` counts each request, `cpu` has their share of vCPUs.

    Refused or broken connections, timeouts and statuses from `retry_statuses_from` on are tried again. Raises
    ObjectFailedError after the last retry, or the flag's cause when the job ends meanwhile.
    """
    settings, stop_flag = job.spec.settings, job.stop_flag
    headers = build_input_object_headers(input_address)
    pause = settings.retry_backoff_seconds
    for attempt in range(request.max_retries + 1):
        if attempt and stop_flag.wait(pause * 2 ** (attempt - 1)):
            stop_flag.raise_if_set()
        last = attempt == request.max_retries
        meter.add(requests=1)
        try:
            answer = cpu.run(
                lambda: client.invoke(
                    body, request.content_type, request.accept, request.timeout_seconds, headers
                ),
                request.timeout_seconds,
            )
        except NoResponseError as error:
            stop_flag.raise_if_set()
            if last:
                raise _no_response_failure(error, request) from error
            continue
        if 200 <= answer.status < 300:
            return answer
        if last or answer.status < settings.retry_statuses_from:
            raise _refused_failure(answer)
        answer.spool.close()
    raise AssertionError("the loop ends by return or raise")


def _no_response_failure(error: NoResponseError, request: TransformRequest) -> ObjectFailedError:
    text = NO_RESPONSE
    if isinstance(error, ResponseTimeoutError):
        seconds = request.timeout_seconds
        text = f"Model server did not respond to /invocations request within {seconds} seconds"
    return ObjectFailedError(AlgorithmFailedError(), [text])


def _refused_failure(answer: ContainerResponse) -> ObjectFailedError:
    message = next(answer.spool.iter_chunks(), b"")[:MAX_MESSAGE_BYTES].decode(errors="replace")
    answer.spool.close()
    failure: JobFailedError = AlgorithmFailedError()
    first = f"Bad HTTP status received from algorithm: {answer.status}"
    if 400 <= answer.status < 500:
        failure, first = ClientFailedError(), f"ClientError: {answer.status}"
    return ObjectFailedError(failure, [first, "", "Message:", *message.splitlines()])
