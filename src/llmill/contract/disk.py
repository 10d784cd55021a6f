"""A disk without room: how a system says it, and what a user is told."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
SAID = "the disk is full; make room there and run again"
