"""Strengths from outcomes in pairs: Bradley and Terry's model (1952), with Davidson's ties (1970),
on the scale of Elo's ratings; and plain Elo.

Of players i and j, i wins with a probability in proportion to exp(b_i), j to exp(b_j), and neither
to nu exp((b_i + b_j) / 2). All orders of the outcomes give the same strengths; Elo's ratings change
from one outcome to the next, so there the order counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from llmill.evaluation.statistics import newton

ELO = 400 / math.log(10)  # points of Elo's scale for a unit of strength
MIDDLE = 1000.0  # the mean rating
K = 4.0  # points that one outcome moves a rating of Elo's, as chat arenas take it


@dataclass(frozen=True)
class Outcome:
    """Two players, what the first got (1.0 for a win, 0.5 for a tie, 0.0 for a loss), and what they
    were compared on, if several outcomes share it, such as an instruction.
    """

    first: str
    second: str
    score: float
    about: str | None = None


@dataclass(frozen=True)
class Counts:
    """Pairs of players that met, by number (P, 2), and how often the first, the second and neither
    won: (P, 3), or (R, P, 3) of R resamples. `parts` are those of each of G things that outcomes
    were about, (G, P, 3), where they all were about one.
    """

    players: list[str]
    pairs: np.ndarray
    won: np.ndarray
    parts: np.ndarray | None = None


def count(outcomes: Sequence[Outcome]) -> Counts:
    """The outcomes of each pair; players stand in the order of their names."""
    players = sorted({name for each in outcomes for name in (each.first, each.second)})
    number = {name: n for n, name in enumerate(players)}
    met = [sorted((number[each.first], number[each.second])) for each in outcomes]
    pairs = sorted({(low, high) for low, high in met})
    place = {pair: n for n, pair in enumerate(pairs)}
    things = {about: n for n, about in enumerate(dict.fromkeys(each.about for each in outcomes))}
    parts = np.zeros((len(things), len(pairs), 3))
    for each, (low, high) in zip(outcomes, met, strict=True):
        score = each.score if number[each.first] == low else 1.0 - each.score
        parts[things[each.about], place[low, high], {1.0: 0, 0.0: 1, 0.5: 2}[score]] += 1
    return Counts(players, np.array(pairs), parts.sum(axis=0), None if None in things else parts)


def groups(counts: Counts, strong: bool) -> list[list[str]]:
    """Players that can be compared, the largest group first. Weakly: by any chain of outcomes.
    Strongly: each has a chain of wins over every other, else some strength is infinite (Ford 1957).
    A tie joins two players as a win of each would, once some win is answered by a chain of wins
    back: else the tie parameter may grow for ever, and strengths with it.
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
    """Connected players; of which pairs a way leads from the first to the second, and back."""
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
    """The groups of players to which the outcomes among them give finite strengths."""
    found = groups(count(outcomes), strong=True)
    if len(found) == 1:
        return [part for part in found if len(part) > 1]
    parts: list[list[str]] = []
    for part in found:
        if len(part) > 1:
            parts += rateable([each for each in outcomes if {each.first, each.second} <= {*part}])
    return parts


def strengths(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Strengths b of mean 0, (..., N), and the tie parameter nu (...), 0 where nothing was a tie;
    the most likely ones. Of resamples, each alone.

    The players must be one strong group: else there is no such maximum.
    """
    won = counts.won if counts.won.ndim == 3 else counts.won[None]
    ties = won[..., 2].sum(axis=1) > 0  # (R,)
    size = len(counts.players)
    design = np.zeros((len(counts.pairs), 3, size + 1))  # of the logarithms: strengths, log nu
    for number, (first, second) in enumerate(counts.pairs):
        design[number, 0, first] = design[number, 1, second] = 1.0
        design[number, 2, [first, second]] = 0.5
        design[number, 2, size] = 1.0
    design = design[..., 1:]  # the first strength stands still at 0: only differences count
    games = won.sum(axis=-1, keepdims=True)  # (R, P, 1)

    def slopes(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient, curvature = _slopes(at, design, won, games, ties)
        curvature[:, -1, -1] += ~ties  # where nothing is a tie, nu is not learnt
        return gradient, curvature

    at = newton.maxima(slopes, np.zeros((len(won), size)))
    found = np.pad(at[:, :-1], ((0, 0), (1, 0)))
    found -= found.mean(axis=1, keepdims=True)
    nu = np.where(ties, np.exp(at[:, -1]), 0.0)
    return (found, nu) if counts.won.ndim == 3 else (found[0], nu[0])


def _slopes(
    at: np.ndarray, design: np.ndarray, won: np.ndarray, games: np.ndarray, ties: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of the log-likelihood, (R, N), and its negative second derivatives."""
    logits = np.einsum("rf,pcf->rpc", at, design)
    logits[~ties, :, 2] = -np.inf
    share = np.exp(logits - logits.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    gradient = np.einsum("rpc,pcf->rf", won - games * share, design)
    middle = np.einsum("rpc,pcf->rpf", share, design)
    second = np.einsum("rpc,pcf,pcg->rfg", games * share, design, design)
    return gradient, second - np.einsum("rpf,rpg->rfg", games * middle, middle)


def resample(counts: Counts, resamples: int, seed: int) -> Counts:
    """The same number of outcomes, drawn from them with replacement, so many times; where all are
    about something, as many things, each with all of its outcomes: they stand or fall together.
    """
    rng = np.random.default_rng(seed)
    if counts.parts is not None:
        size = len(counts.parts)
        times = rng.multinomial(size, np.full(size, 1 / size), size=resamples)  # (R, G)
        won = np.tensordot(times.astype(float), counts.parts, axes=1)
        return Counts(counts.players, counts.pairs, won)
    flat = counts.won.reshape(-1)
    total = int(flat.sum())
    drawn = rng.multinomial(total, flat / total, size=resamples).astype(float)
    return Counts(counts.players, counts.pairs, drawn.reshape(resamples, *counts.won.shape))


def intervals(
    counts: Counts, resamples: int, confidence: float, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """The percentiles of each strength over what `resample` draws, and how many resamples had
    no finite strengths, and so are left out (see `groups`). NaN if that is so of all resamples.
    """
    drawn = resample(counts, resamples, seed)
    whole = [
        n
        for n, won in enumerate(drawn.won)
        if len(groups(Counts(counts.players, counts.pairs, won), strong=True)) == 1
    ]
    if not whole:
        unknown = np.full(len(counts.players), np.nan)
        return unknown, unknown, resamples
    found, _ = strengths(Counts(counts.players, counts.pairs, drawn.won[whole]))
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high, resamples - len(whole)


def rating(strength: Sequence[float] | np.ndarray) -> np.ndarray:
    """Strengths on Elo's scale, about a mean of 1000."""
    return MIDDLE + ELO * np.asarray(strength)


def elo(outcomes: Sequence[Outcome], k: float = K) -> dict[str, float]:
    """Elo's ratings after all outcomes in their order, from 1000 each."""
    found = dict.fromkeys((n for each in outcomes for n in (each.first, each.second)), MIDDLE)
    for each in outcomes:
        apart = found[each.second] - found[each.first]
        moved = k * (each.score - 1 / (1 + 10 ** (apart / 400)))
        found[each.first] += moved
        found[each.second] -= moved
    return found
