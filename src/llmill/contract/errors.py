"""The errors that end a command. A user sees one line: what is wrong, where, and what to do."""


class UserError(Exception):
    """A mistake that the user can fix: one line on stderr, exit code 1, no traceback."""


class Stopped(BaseException):
    """A signal asked the stage to stop; its state is saved. Exit code 128 + `signum`.

    Like KeyboardInterrupt, it is not an `Exception`: a signal may arrive anywhere, and code that
    continues after a failure, as tracking does, must not continue after this.
    """

    def __init__(self, signum: int):
        super().__init__(f"stopped by signal {signum}; the same command continues from here")
        self.signum = signum
