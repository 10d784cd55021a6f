"""Ratings from outcomes of pairs: Bradley and Terry's model (1952) with Davidson's ties (1970), on
the scale of Elo ratings; and plain Elo.

For players i and j, the probability that i wins is proportional to exp(b_i), that j wins to
exp(b_j), and of a tie to nu exp((b_i + b_j) / 2). The strengths b do not depend on the order of the
outcomes. Elo ratings do, because every outcome updates them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.sparse.csgraph import connected_components

from llmill.evaluation.statistics import newton

ELO = 400 / math.log(10)  # Elo points per unit of strength
MIDDLE = 1000.0  # the mean rating
# The logarithm of the weight of the three outcomes, from the two strengths and log nu.
LOG_WEIGHTS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 1.0]])
CELLS = 1 << 20  # numbers in the largest array about the resamples that are drawn together
K = 4.0  # most points that an outcome moves an Elo rating, as in chat arenas


@dataclass(frozen=True)
class Outcome:
    """Two players, the score of the first (1.0 for a win, 0.5 for a tie, 0.0 for a loss), and what
    they were compared on (such as an instruction) if outcomes share it.
    """

    first: str
    second: str
    score: float
    about: str | None = None


@dataclass(frozen=True)
class Counts:
    """Pairs of players that met, by number (P, 2), and how often the first won, the second won, or
    neither did: (P, 3), or (R, P, 3) for R resamples. If every outcome has an `about`, `parts` are
    the counts for each of the G different ones, (G, 3P), most of which are 0.
    """

    players: list[str]
    pairs: np.ndarray
    won: np.ndarray
    parts: csr_array | None = None


def count(outcomes: Sequence[Outcome]) -> Counts:
    """Count the outcomes of each pair. Players are sorted by name."""
    players = sorted({name for each in outcomes for name in (each.first, each.second)})
    number = {name: n for n, name in enumerate(players)}
    met = [sorted((number[each.first], number[each.second])) for each in outcomes]
    pairs = sorted({(low, high) for low, high in met})
    place = {pair: n for n, pair in enumerate(pairs)}
    things = {about: n for n, about in enumerate(dict.fromkeys(each.about for each in outcomes))}
    rows, columns = [], []
    for each, (low, high) in zip(outcomes, met, strict=True):
        score = each.score if number[each.first] == low else 1.0 - each.score
        rows.append(things[each.about])
        columns.append(3 * place[low, high] + {1.0: 0, 0.0: 1, 0.5: 2}[score])
    shape = (len(things), 3 * len(pairs))
    parts = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)  # sums what is repeated
    won = parts.sum(axis=0).reshape(-1, 3)
    return Counts(players, np.array(pairs), won, None if None in things else parts)


def groups(counts: Counts, strong: bool) -> list[list[str]]:
    """Return the groups of players that can be compared, the largest first.

    Weak groups are connected by any outcomes. In a strong group each player has a chain of wins to
    every other one; otherwise some strength is infinite (Ford 1957). A tie counts as a win of both
    if the group already has a cycle of wins. Without such a cycle, the tie parameter may grow
    without bound, and the strengths with it.
    """
    won = counts.won
    if not strong:
        met = won.sum(axis=1) > 0
        return _groups(counts, met, met, "weak")
    found = _groups(counts, won[:, 0] > 0, won[:, 1] > 0, "strong")
    tied = won[:, 2] > 0
    if len(found[0]) > 1 and tied.any():
        found = _groups(counts, (won[:, 0] > 0) | tied, (won[:, 1] > 0) | tied, "strong")
    return found


def _groups(counts: Counts, beat: np.ndarray, lost: np.ndarray, kind: str) -> list[list[str]]:
    """Return connected components of players. `beat` and `lost` (P,) mark the pairs with an edge
    from the first player to the second, and back.
    """
    (first, second), size = counts.pairs.T, len(counts.players)
    above = np.concatenate([first[beat], second[lost]])
    below = np.concatenate([second[beat], first[lost]])
    graph = coo_array((np.ones(len(above)), (above, below)), shape=(size, size))
    _, label = connected_components(graph, connection=kind)
    found = [
        [name for name, own in zip(counts.players, label, strict=True) if own == one]
        for one in dict.fromkeys(label.tolist())
    ]
    return sorted(found, key=len, reverse=True)


def rateable(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return the groups of players whose outcomes among themselves give finite strengths."""
    found = groups(count(outcomes), strong=True)
    if len(found) == 1:
        return [part for part in found if len(part) > 1]
    parts: list[list[str]] = []
    for part in found:
        if len(part) > 1:
            parts += rateable([each for each in outcomes if {each.first, each.second} <= {*part}])
    return parts


def strengths(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return the maximum-likelihood strengths b with mean 0, (N,), and tie parameter nu, 0 without
    ties; for resamples (R, N) and (R,).

    The players must be one strong group; otherwise the likelihood has no maximum.
    """
    won = counts.won if counts.won.ndim == 3 else counts.won[None]
    ties = won[..., 2].sum(axis=1) > 0  # (R,)
    size = len(counts.players)
    parameters = np.pad(counts.pairs, ((0, 0), (0, 1)), constant_values=size)  # (P, 3)
    to_vector = _sums(parameters, size + 1)
    to_matrix = _sums(parameters[:, :, None] * (size + 1) + parameters[:, None, :], (size + 1) ** 2)

    def slopes(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        everything = np.pad(at, ((0, 0), (1, 0)))  # the first strength stays at 0
        gradient, curvature = _slopes(everything[:, parameters], won, ties)
        gradient = gradient.reshape(len(at), -1) @ to_vector
        curvature = (curvature.reshape(len(at), -1) @ to_matrix).reshape(-1, size + 1, size + 1)
        curvature[:, -1, -1] += ~ties  # without ties, nu is not fitted
        return gradient[:, 1:], curvature[:, 1:, 1:]

    at = newton.maxima(slopes, np.zeros((len(won), size)))
    found = np.pad(at[:, :-1], ((0, 0), (1, 0)))
    found -= found.mean(axis=1, keepdims=True)
    nu = np.where(ties, np.exp(at[:, -1]), 0.0)
    return (found, nu) if counts.won.ndim == 3 else (found[0], nu[0])


def _slopes(at: np.ndarray, won: np.ndarray, ties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of each pair's log-likelihood, (R, P, 3), and its negative second
    derivatives, (R, P, 3, 3). `at`, (R, P, 3), holds a pair's two strengths and log nu.
    """
    games = won.sum(axis=-1, keepdims=True)  # (R, P, 1)
    logits = at @ LOG_WEIGHTS.T
    logits[~ties, :, 2] = -np.inf
    share = np.exp(logits - logits.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    middle = share @ LOG_WEIGHTS
    products = LOG_WEIGHTS[:, :, None] * LOG_WEIGHTS[:, None, :]  # (3, 3, 3)
    second = np.tensordot(share, products, axes=1) - middle[..., None] * middle[..., None, :]
    return (won - games * share) @ LOG_WEIGHTS, games[..., None] * second


def _sums(places: np.ndarray, size: int) -> csr_array:
    """Return the matrix that sums values by place, from values in the order of `places`."""
    flat = places.reshape(-1)
    return csr_array((np.ones(len(flat)), (np.arange(len(flat)), flat)), shape=(len(flat), size))


def resample(counts: Counts, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw resamples of the outcomes with replacement, and yield them in blocks, (r, P, 3). If
    every outcome has an `about`, draw these instead, each with all of its outcomes, because those
    depend on each other.
    """
    rng = np.random.default_rng(seed)
    times = counts.won.reshape(-1)  # how often each thing that can be drawn was there
    parts = eye_array(len(times), format="csr")  # the counts for each of these things
    if counts.parts is not None:
        parts = counts.parts
        times = np.ones(parts.shape[0])
    total = int(times.sum())
    largest = max(len(times), 9 * len(counts.pairs))  # of one resample, see `_slopes`
    together = max(1, CELLS // largest)
    for begin in range(0, resamples, together):
        size = min(together, resamples - begin)
        drawn = rng.multinomial(total, times / total, size=size).astype(float)
        yield (drawn @ parts).reshape(size, -1, 3)


def intervals(
    counts: Counts, resamples: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the lower and upper percentile of each strength over resamples, (N,) each, and the
    number of resamples that are left out because a strength is infinite (see `groups`). If all are
    left out, the percentiles are NaN.
    """
    found = []
    for drawn in resample(counts, resamples, seed):
        each = [Counts(counts.players, counts.pairs, won) for won in drawn]
        is_whole = [len(groups(one, strong=True)) == 1 for one in each]
        if any(is_whole):
            whole = Counts(counts.players, counts.pairs, drawn[is_whole])
            found.append(strengths(whole)[0])
    if not found:
        unknown = np.full(len(counts.players), np.nan)
        return unknown, unknown, resamples
    finite = np.concatenate(found)
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high, resamples - len(finite)


def rating(strength: Sequence[float] | np.ndarray) -> np.ndarray:
    """Convert strengths (N,) to Elo's scale, with 1000 for strength 0."""
    return MIDDLE + ELO * np.asarray(strength)


def elo(outcomes: Sequence[Outcome], k: float = K) -> dict[str, float]:
    """Return the Elo ratings after all outcomes in order; every player starts at 1000."""
    found = dict.fromkeys((n for each in outcomes for n in (each.first, each.second)), MIDDLE)
    for each in outcomes:
        apart = found[each.second] - found[each.first]
        moved = k * (each.score - 1 / (1 + 10 ** (apart / 400)))
        found[each.first] += moved
        found[each.second] -= moved
    return found
