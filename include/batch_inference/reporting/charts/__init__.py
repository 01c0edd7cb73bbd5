"""Builds the charts of a run from its figures (`report.json`), for the run page in Airflow and for report.html."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_inference.reporting.charts.chart import Chart as Chart
from batch_inference.reporting.charts.cost import build_cost_chart
from batch_inference.reporting.charts.distribution import build_distribution_charts
from batch_inference.reporting.charts.funnel import build_funnel_chart
from batch_inference.reporting.charts.group_rates import build_group_charts
from batch_inference.reporting.charts.timeline import build_timeline_chart


def build_charts(report: Mapping[str, Any]) -> list[Chart]:
    """The charts in the order of the page.

    `report` is the result of `build_report` or `build_live_report`; charts without known figures are left out.
    """
    charts = [
        build_funnel_chart(report),
        build_timeline_chart(report),
        *build_distribution_charts(report),
        *build_group_charts(report),
        build_cost_chart(report),
    ]
    return [chart for chart in charts if chart is not None]
