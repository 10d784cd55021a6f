"""Calibration of a classifier: expected calibration error, and temperature scaling (Guo et al.
2017).

Input: logits (N, n_class) and the numbers of the true classes (N,).
"""

import numpy as np

BINS = 15  # of equal width, over the probability of the predicted class
COLDEST, HOTTEST = 0.05, 20.0  # without errors, the best temperature would be 0


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return softmax(logits / temperature), (N, n_class)."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def expected_error(logits: np.ndarray, truth: np.ndarray, temperature: float = 1.0) -> float:
    """Return the expected calibration error: the mean over bins of the absolute difference between
    confidence and accuracy, weighted by the messages in each bin.
    """
    chances = probabilities(logits, temperature)
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == truth
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    excess = np.bincount(bins, weights=sure - right, minlength=BINS)
    return float(np.abs(excess).sum() / len(truth))


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature with the lowest log loss, between COLDEST and HOTTEST."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        chances = probabilities(logits, float(np.exp(log_temperature)))
        of_truth = chances[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(of_truth, 1e-300)).mean())

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
