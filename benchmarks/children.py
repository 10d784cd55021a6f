"""Child processes whose memory is measured."""

import multiprocessing

# The ru_maxrss of a spawned child begins at its parent's peak; that of a child of a small fork
# server does not.
CHILDREN = multiprocessing.get_context("forkserver")
