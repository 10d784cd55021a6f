"""Processes whose memory is measured."""

import multiprocessing

# A spawned child's ru_maxrss begins at its parent's peak; one that a small server forks does not.
CHILDREN = multiprocessing.get_context("forkserver")
