"""A full disk: the system's error numbers, and the message for the user."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
SAID = "the disk is full; make room there and run again"
