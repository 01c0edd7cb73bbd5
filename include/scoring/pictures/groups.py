"""Who is rejected, and what is predicted, by group of a sensitive column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.scoring.messages import count
from include.scoring.pictures.picture import BAD, CLEAR, GOOD, Picture, labels, literal, rows_layout

#: Groups with a row of their own, most records first.
MOST_GROUPS = 20


def by_group(report: Mapping[str, Any]) -> Iterator[Picture]:
    """For each sensitive column its rejected shares and each prediction's mean.

    `report["quality"]["groups"]` is a list; an entry has `column` and `groups`, and each of those `group`, `records`,
    `rejected_share` and `mean_prediction` (name to mean); shares and means that are not known are None or absent.
    """
    for number, entry in enumerate((report.get("quality") or {}).get("groups") or ()):
        column = entry["column"]
        groups = sorted(entry["groups"], key=lambda group: (-group["records"], group["group"]))[:MOST_GROUPS]
        rejected = [(group, group["rejected_share"]) for group in groups]
        yield from _picture(f"groups-{number}-rejected", f"Rejected by {column}", rejected, BAD, share=True)
        names = dict.fromkeys(name for group in groups for name in group["mean_prediction"])
        for place, name in enumerate(names):
            means = [(group, group["mean_prediction"].get(name)) for group in groups]
            title = f"Mean {name} by {column}"
            yield from _picture(f"groups-{number}-mean-{place}", title, means, GOOD, share=False)


def _picture(
    name: str, title: str, rows: Sequence[tuple[Mapping[str, Any], float | None]], colour: str, *, share: bool
) -> Iterator[Picture]:
    known = [(group, value) for group, value in rows if value is not None]
    if not known:
        return
    words = [f"{value:.2%}" if share else f"{value:.4g}" for _, value in known]
    values = [value for _, value in known]
    figure = {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": labels([group["group"] for group, _ in known]),
                "x": values,
                "marker": {"color": colour},
                "text": words,
                "textposition": "outside",
                "textangle": 0,
                "cliponaxis": False,
                "customdata": [
                    [literal(group["group"]), count(group["records"], "record")] for group, _ in known
                ],
                "hovertemplate": "%{customdata[0]}: %{text}<br>%{customdata[1]}<extra></extra>",
            }
        ],
        "layout": rows_layout(
            len(known),
            xaxis={"range": _range(values), "showticklabels": False, "showgrid": False, "linecolor": CLEAR},
        ),
    }
    yield Picture(name=name, title=title, caption=_caption(title, values, words, known), figure=figure)


def _caption(
    title: str,
    values: Sequence[float],
    words: Sequence[str],
    known: Sequence[tuple[Mapping[str, Any], float]],
) -> str:
    places = sorted(range(len(values)), key=values.__getitem__)
    low, high = (f"{words[place]} in {known[place][0]['group']}" for place in (places[0], places[-1]))
    return f"{title}: {low}, the only group." if len(values) == 1 else f"{title}: from {low} to {high}."


def _range(values: Sequence[float]) -> list[float]:
    """From zero, with room for the number beside the longest bar."""
    least, most = min(0.0, *values), max(0.0, *values)
    room = (most - least) * 0.25 or 1.0
    return [least - (room if least < 0 else 0), most + (room if most > 0 or least == most else 0)]
