"""One request with its retries, and what its failure means for the object and the job."""

from __future__ import annotations

from collections.abc import Callable

from include.local_aws.runner.failures import AlgorithmFailedError, ClientFailedError, JobFailedError
from include.local_aws.runner.s3 import Address
from include.local_aws.runner.settings import RunnerSettings
from include.local_aws.runner.stopping import StopFlag
from include.local_aws.runner.transform.client import (
    Answer,
    Chain,
    NoAnswerError,
    TimedOutError,
    input_object_headers,
)
from include.local_aws.runner.transform.plan import TransformPlan
from include.local_aws.runner.transform.spool import Body

MESSAGE_BYTES = 4096


class ObjectLostError(Exception):
    """The object is lost. `lines` go to the data-log, `failure` says how the job ends."""

    def __init__(self, failure: JobFailedError, lines: list[str]) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.lines = lines


def invoke(
    chain: Chain,
    body: Body,
    plan: TransformPlan,
    settings: RunnerSettings,
    flag: StopFlag,
    count_request: Callable[[], None],
    source: Address,
) -> Answer:
    """The 2xx answer for records of `source`.

    Refused or broken connections, timeouts and statuses from `retry_statuses_from` on are tried again. Raises
    ObjectLostError after the last retry, or the flag's cause when the job ends meanwhile.
    """
    headers = input_object_headers(source)
    pause = settings.retry_backoff_seconds
    for attempt in range(plan.max_retries + 1):
        if attempt and flag.wait(pause * 2 ** (attempt - 1)):
            flag.check()
        last = attempt == plan.max_retries
        count_request()
        try:
            answer = chain.invoke(body, plan.content_type, plan.accept, plan.timeout_seconds, headers)
        except NoAnswerError as error:
            flag.check()
            if last:
                raise _unanswered(error, plan) from error
            continue
        if 200 <= answer.status < 300:
            return answer
        if last or answer.status < settings.retry_statuses_from:
            raise _refused(answer)
        answer.spool.close()
    raise AssertionError("the loop ends by return or raise")


def _unanswered(error: NoAnswerError, plan: TransformPlan) -> ObjectLostError:
    text = "Unable to get response from algorithm"
    if isinstance(error, TimedOutError):
        text = f"Model server did not respond to /invocations request within {plan.timeout_seconds} seconds"
    return ObjectLostError(AlgorithmFailedError(), [text])


def _refused(answer: Answer) -> ObjectLostError:
    message = next(answer.spool.pieces(), b"")[:MESSAGE_BYTES].decode(errors="replace")
    answer.spool.close()
    client = 400 <= answer.status < 500
    first = (
        f"ClientError: {answer.status}"
        if client
        else f"Bad HTTP status received from algorithm: {answer.status}"
    )
    failure: JobFailedError = ClientFailedError() if client else AlgorithmFailedError()
    return ObjectLostError(failure, [first, "", "Message:", *message.splitlines()])
