"""The errors that end a command. A user sees one line: what is wrong, where, and what to do."""


class UserError(Exception):
    """A mistake that the user can fix: one line on stderr, exit code 1, no traceback."""


class SettingError(UserError):
    """A mistake that a setting corrects, which is a key in `params.yaml` and an option of commands.

    `what`: what is wrong and where. `as_key` and `as_option`: the rest of the line, with the
    setting as a key and as an option. The line names the key.
    """

    def __init__(self, what: str, as_key: str, as_option: str):
        super().__init__(what, as_key, as_option)  # pickling calls the class with these
        self.what, self.as_key, self.as_option = what, as_key, as_option

    def __str__(self) -> str:
        return self.what + self.as_key

    def for_command(self) -> str:
        """Return the line for a command that has the option."""
        return self.what + self.as_option


class Stopped(BaseException):
    """A signal asked the stage to stop; its state is saved. Exit code 128 + `signum`.

    Like KeyboardInterrupt, it is not an `Exception`: a signal may arrive anywhere, and code that
    continues after a failure, as tracking does, must not continue after this.
    """

    def __init__(self, signum: int):
        super().__init__(f"stopped by signal {signum}; the same command continues from here")
        self.signum = signum
