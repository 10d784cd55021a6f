import numpy as np

from llmill.text.corpus.sieve import Sieve


def test_hashes_are_found_with_their_places_and_their_numbers():
    sieve = Sieve(np.array([5, 7, 2**63], dtype=np.uint64))
    places, which = sieve.found(np.array([7, 1, 2**63, 5, 2**64 - 1, 7], dtype=np.uint64))
    assert places.tolist() == [0, 2, 3, 5]
    assert which.tolist() == [1, 2, 0, 1]


def test_hashes_that_begin_like_one_of_them_are_others():
    """The table has a place for the first five bits of a hash."""
    sieve = Sieve(np.array([3 << 59, (3 << 59) + 2], dtype=np.uint64))
    near = np.array([(3 << 59) + 1, (3 << 59) + 3, (4 << 59) - 1], dtype=np.uint64)
    assert [each.tolist() for each in sieve.found(near)] == [[], []]


def test_no_hash_is_found_among_none_and_none_in_nothing():
    none = np.array([], dtype=np.uint64)
    assert [each.tolist() for each in Sieve(none).found(np.array([1], np.uint64))] == [[], []]
    assert [each.tolist() for each in Sieve(np.array([1], np.uint64)).found(none)] == [[], []]


def test_as_many_are_found_as_by_a_slow_comparison():
    rng = np.random.default_rng(1)
    everything = rng.integers(0, 2**64, size=3000, dtype=np.uint64)
    hashes = np.unique(everything[:1000])
    others = rng.permutation(np.concatenate([everything, everything]))
    places, which = Sieve(hashes).found(others)
    assert places.tolist() == np.flatnonzero(np.isin(others, hashes)).tolist()
    assert (hashes[which] == others[places]).all()
