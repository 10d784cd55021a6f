"""Newton's method for many concave functions at once, such as likelihoods of resamples."""

from collections.abc import Callable

import numpy as np

STEPS, LONGEST, NEAR = 100, 1.0, 1e-8  # most steps, their largest component, the tolerance

Slopes = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def maxima(slopes: Slopes, start: np.ndarray) -> np.ndarray:
    """Return the maximum point of each of R functions of F numbers, (R, F), from `start`, (R, F).

    `slopes` takes points (R, F) and returns the gradients, (R, F), and the negative second
    derivatives, (R, F, F).
    """
    at = start
    for _ in range(STEPS):
        gradient, curvature = slopes(at)
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step *= np.minimum(1.0, LONGEST / np.maximum(abs(step).max(axis=1, keepdims=True), 1e-300))
        at = at + step
        if abs(step).max() < NEAR:
            break
    return at
