"""The distribution of a logarithm of seconds: Student's t with four degrees of freedom.

Its tails are heavy: one night in twenty may be an outlier, and a spread is known from a few nights only. Quantiles and
probabilities have closed forms.
"""

from __future__ import annotations

import math
from functools import cache

DEGREES_OF_FREEDOM = 4


@cache
def compute_quantile(confidence: float) -> float:
    """How many deviations above the mean `confidence` of all values are at most; 0.5 to below 1."""
    root = math.sqrt(4 * confidence * (1 - confidence))
    return 2 * math.sqrt(max(0.0, math.cos(math.acos(root) / 3) / root - 1))


def compute_probability(deviations: float) -> float:
    """The probability of a value of at most so many deviations above the mean."""
    squared = 1 + deviations * deviations / 4
    scaled = deviations / math.sqrt(squared)
    return 0.5 + 0.375 * scaled * (1 - deviations * deviations / (12 * squared))
