"""How sure a mean is: intervals by resampling, which assume nothing of how the values are spread."""

from __future__ import annotations

import numpy as np

from videogen_cli.data.order import rng

RESAMPLES = 2000
_CHUNK = 2**20  # values drawn at once; bounds memory


def mean_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """Return the 95% interval of the mean of ``values`` (n,), or None for fewer than two.

    Efron's percentile bootstrap (1979): the middle 95% of the means of samples drawn with replacement. The same values
    give the same interval.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return None
    draw, means = rng(seed, "bootstrap", len(values)), []
    rows = max(1, min(RESAMPLES, _CHUNK // len(values)))
    for first in range(0, RESAMPLES, rows):
        picked = draw.integers(0, len(values), (min(rows, RESAMPLES - first), len(values)))
        means.append(values[picked].mean(1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)
