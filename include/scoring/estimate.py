"""What a run will roughly take and cost: start-up plus the largest share of work, times instances."""

from __future__ import annotations

from include.scoring.cost import Prices, total
from include.scoring.messages import duration, money
from include.scoring.rules import Noun

# Assumed until runs of the pipeline have been measured. Start-up: pulling the image and starting the server
# took 60 to 120 s of billed time in recorded runs. Rates: megabytes per second and instance of plain tabular
# work.
START_SECONDS = 90.0
DEFAULT_RATES = {"preprocess": 10e6, "transform": 2e6}


class StageEstimate(Noun):
    """Seconds that the job runs, instance-seconds billed, and dollars, or None when the price is unknown."""

    seconds: float
    billed_seconds: float
    dollars: float | None


class Estimate(Noun):
    """Estimates of both stages and in all; `basis` says what they rest on."""

    preprocess: StageEstimate
    transform: StageEstimate
    seconds: float
    dollars: float | None
    basis: str

    def sentence(self) -> str:
        """One sentence for people."""
        takes = f"The jobs should run for about {duration(self.seconds)}"
        if self.dollars is None:
            return (
                f"{takes}; the cost is unknown, because an instance type has no known price ({self.basis})."
            )
        return f"{takes} and cost about {money(self.dollars)} ({self.basis})."


def estimate(
    *, input_bytes: int, preprocess: tuple[str, int], transform: tuple[str, int], prices: Prices
) -> Estimate:
    """Estimate both jobs for `input_bytes` of text; a stage is (instance type, instance count)."""
    stages = {
        name: _stage(input_bytes, stage, DEFAULT_RATES[name], prices)
        for name, stage in (("preprocess", preprocess), ("transform", transform))
    }
    return Estimate(
        preprocess=stages["preprocess"],
        transform=stages["transform"],
        seconds=sum(stage.seconds for stage in stages.values()),
        dollars=total(stage.dollars for stage in stages.values()),
        basis=f"assuming {START_SECONDS:.0f} s to start, and per instance "
        + " and ".join(f"{rate / 1e6:.0f} MB/s to {name}" for name, rate in DEFAULT_RATES.items()),
    )


def _stage(input_bytes: int, stage: tuple[str, int], rate: float, prices: Prices) -> StageEstimate:
    instance_type, instances = stage
    if not instances:
        return StageEstimate(seconds=0.0, billed_seconds=0.0, dollars=0.0)
    seconds = START_SECONDS + input_bytes / instances / rate
    billed = seconds * instances
    return StageEstimate(seconds=seconds, billed_seconds=billed, dollars=prices.cost(instance_type, billed))
