"""What two listings of one input tell about the objects between them."""

from __future__ import annotations

import io

from hypothesis import example, given
from hypothesis import strategies as st

from batch_inference.planning.inputs.input_listing import S3Object, find_replaced_objects, tee_to_listing

VERSIONS = st.tuples(st.integers(1, 3), st.sampled_from("ab"))
LISTINGS = st.dictionaries(st.text(min_size=1, max_size=3), VERSIONS, max_size=12)


def in_order(listing: dict[str, tuple[int, str]]) -> list[S3Object]:
    return [S3Object(key, size, etag) for key, (size, etag) in sorted(listing.items())]


@example(planned={"a": (1, "a"), "b": (1, "a")}, now={"b": (1, "a")})
@given(planned=LISTINGS, now=LISTINGS)
def test_exactly_the_keys_with_another_size_or_etag_are_told_as_replaced(
    planned: dict[str, tuple[int, str]], now: dict[str, tuple[int, str]]
) -> None:
    """Whatever came, went, or has line breaks in its name."""
    kept = io.StringIO(newline="")
    assert list(tee_to_listing(in_order(planned), kept)) == in_order(planned)
    kept.seek(0)
    expected = [
        (S3Object(key, *planned[key]), S3Object(key, *now[key]))
        for key in sorted(planned)
        if key in now and planned[key] != now[key]
    ]
    assert list(find_replaced_objects(kept, in_order(now))) == expected
