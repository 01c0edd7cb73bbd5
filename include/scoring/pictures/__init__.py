"""The plots of a run, from its figures (`report.json`); the page in Airflow and report.html draw the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.scoring.pictures.cost import cost
from include.scoring.pictures.distribution import distributions
from include.scoring.pictures.funnel import funnel
from include.scoring.pictures.groups import by_group
from include.scoring.pictures.picture import Picture as Picture
from include.scoring.pictures.timeline import timeline


def pictures_of(report: Mapping[str, Any]) -> list[Picture]:
    """The plots that the figures allow, in the order in which a page shows them.

    `report` is what `build_report` or `figures_so_far` gave; what is not known yet is left out.
    """
    made = [funnel(report), timeline(report), *distributions(report), *by_group(report), cost(report)]
    return [picture for picture in made if picture is not None]
