"""Whether a classifier is right as often as it says: expected calibration error, and the
temperature that brings its probabilities nearest to the truth (Guo et al. 2017).

In: logits (N, n_class) and the numbers of the true classes (N,).
"""

import numpy as np

BINS = 15  # of equal width, over how sure the classifier is
COLDEST, HOTTEST = 0.05, 20.0  # where every message is right, no temperature is too cold


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits over a temperature, (N, n_class)."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def expected_error(logits: np.ndarray, truth: np.ndarray, temperature: float = 1.0) -> float:
    """Mean distance, over bins of how sure the classifier is, between that and how often it is
    right; each bin by its share of the messages.
    """
    chances = probabilities(logits, temperature)
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    excess = np.bincount(bins, weights=sure - right, minlength=BINS)
    return float(np.abs(excess).sum() / len(truth))


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature of the least loss, between COLDEST and HOTTEST."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        chances = probabilities(logits, float(np.exp(log_temperature)))
        of_truth = chances[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(of_truth, 1e-300)).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
