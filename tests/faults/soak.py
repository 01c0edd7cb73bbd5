"""`make soak`: random sequences of faults against running pipelines, for MINUTES minutes.

Rounds follow each other until the time is up. In each, some pipelines run side by side; each suffers one case of the
table, or a worker that stalls and comes to late, and up to two faults more that must make no difference, in random
order, and at times a component of Airflow is killed in the middle. With `LATE=1` every strike is a stalled worker. Then
the same four things are asserted of every run. The seed gives the same sequence again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

# Airflow's settings, as for every test.
import tests.conftest  # noqa: F401
from batch_inference.common.s3_uri import split_s3_uri
from tests.faults import interference, late
from tests.faults.case import Case
from tests.faults.cases import CASES
from tests.faults.checks import check
from tests.faults.late import ARRIVALS, STALLS
from tests.faults.phases import Pipeline
from tests.faults.scenario import Scenario
from tests.faults.suite import PATIENCE_SECONDS, Suite, get_output_uri, running_suite

PIPELINES = ("soak-one", "soak-two", "soak-three")
COMPONENTS = ("scheduler", "triggerer", "api-server")
#: Cases that need no pipeline of their own. Further faults cause further tries, but of what is not to be tried again.
DRAWN = [
    case if case.states == ("failed",) else replace(case, tries={})
    for case in CASES
    if not (case.alone or case.once or case.pipeline or case.tuning or case.conf)
]
#: Two processes of each task's body, one of them late: however it comes to, the run is a success.
LATE = [
    Case(
        name="late",
        fault=f"the worker of `{stall.task}` stalls while it {stall.where}, its request is carried out {arrives}"
        f"{', it is noticed' if noticed else ''}",
        ending="success",
        act=replace(stall, arrives=arrives, noticed=noticed),
    )
    for stall in STALLS
    for arrives in ARRIVALS
    for noticed in (False, True)
]
#: A request suffers one fault alone: a slow S3 would use up the request that these cases hold or refuse.
_STRIKE_S3 = {case.name for case in (*LATE, *late.CASES, *interference.CASES)}
SLOW_S3 = "a slow S3"
#: What must make no difference to any of them.
TROUBLES: dict[str, Callable[[Scenario, random.Random], object]] = {
    "throttling": lambda scenario, draw: scenario.arm("throttle", count=draw.randint(1, 8)),
    "errors 500": lambda scenario, draw: scenario.arm("error", status=500, count=draw.randint(1, 5)),
    "resets": lambda scenario, draw: scenario.arm("drop", count=draw.randint(1, 4)),
    "a lost answer": lambda scenario, draw: scenario.arm("withhold", count=draw.randint(1, 2)),
    SLOW_S3: lambda scenario, draw: scenario.arm("s3_slow", count=draw.randint(1, 20), seconds=0.5),
}


@dataclass(frozen=True)
class Strike:
    """What one pipeline suffers in one round."""

    case: Case
    pipeline: str
    troubles: tuple[str, ...]
    seed: int

    def __str__(self) -> str:
        return " + ".join((f"{self.pipeline}: {self.case.fault}", *self.troubles))


def draw_round(draw: random.Random, cases: list[Case]) -> tuple[list[Strike], str | None]:
    """A strike for each pipeline, and the component that is killed meanwhile, if any."""
    strikes = []
    for pipeline in PIPELINES:
        case = draw.choice(cases)
        troubles = sorted(TROUBLES.keys() - ({SLOW_S3} if case.name in _STRIKE_S3 else set()))
        strikes.append(
            Strike(
                case,
                pipeline,
                tuple(draw.sample(troubles, draw.randint(0, 2))),
                draw.getrandbits(32),
            )
        )
    return strikes, draw.choice((None, *COMPONENTS))


def start_strike(suite: Suite, strike: Strike) -> Scenario:
    """Arm the troubles and act; returns when nothing more is to be done to the run."""
    bucket, prefix = split_s3_uri(get_output_uri(strike.pipeline))
    for entry in suite.aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ()):
        suite.aws.s3.delete_object(Bucket=bucket, Key=entry["Key"])
    scenario, draw = Scenario(suite, strike.case, strike.pipeline), random.Random(strike.seed)
    try:
        for trouble in strike.troubles:
            TROUBLES[trouble](scenario, draw)
        with strike.case.during(scenario) if strike.case.during else nullcontext():
            strike.case.act(scenario)
    except BaseException:
        scenario.disarm()
        raise
    return scenario


def play_round(
    suite: Suite, strikes: list[Strike], killed: str | None, pool: ThreadPoolExecutor
) -> list[str | None]:
    """One round; for each strike, what was wrong."""
    started = [pool.submit(start_strike, suite, strike) for strike in strikes]
    fine = [future for future in started if future.exception() is None]
    # A job that should be stopped within seconds is not, while what would stop it is down: that is two faults at once.
    if killed is not None and not any(future.result().unwanted_since for future in fine):
        suite.airflow.kill(killed)
        suite.airflow.start(killed)
        suite.airflow.wait_until_healthy(timeout_seconds=PATIENCE_SECONDS)

    def end(scenario: Scenario) -> None:
        try:
            scenario.wait_for_end()
            check(scenario)
        finally:
            scenario.disarm()

    ended = [
        future if future.exception() is not None else pool.submit(end, future.result()) for future in started
    ]
    return [None if (error := future.exception()) is None else format_error(error) for future in ended]


def format_error(error: BaseException) -> str:
    """An error with where it was raised."""
    return "".join(traceback.format_exception(error)[-3:])


def main() -> int:
    """Run, say what happened, and return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=None, help="seed of an earlier run, to repeat it")
    parser.add_argument("--late", action="store_true", help="stalled workers only")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(32)
    print(f"seed {seed} on {arguments.database}, for {arguments.minutes:g} minutes", flush=True)
    draw, runs, wrong = random.Random(seed), Counter[str](), 0
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as folder,
        running_suite(arguments.database, Path(folder), [Pipeline(name) for name in PIPELINES]) as suite,
        ThreadPoolExecutor(len(PIPELINES)) as pool,
    ):
        began = time.monotonic()
        while time.monotonic() - began < 60 * arguments.minutes:
            strikes, killed = draw_round(draw, LATE if arguments.late else [*DRAWN, *LATE])
            if killed:
                print(
                    f"{time.monotonic() - began:6.0f} s  killing the {killed}, unless a job is to be stopped"
                )
            for strike, error in zip(strikes, play_round(suite, strikes, killed, pool), strict=True):
                runs[strike.case.fault] += 1
                wrong += error is not None
                verdict = "OK" if error is None else f"WRONG\n{error}"
                print(f"{time.monotonic() - began:6.0f} s  {strike}  {verdict}", flush=True)
    print(f"\nseed {seed}: {sum(runs.values())} runs, {wrong} failed checks")
    for fault, count in runs.most_common():
        print(f"  {count:4}  {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
