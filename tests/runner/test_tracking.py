"""The tracker: what fails there is said, and stops nothing."""

from llmill.runner.tracking import guarded


class Failing:
    """A tracker whose server answers with what would steer a terminal."""

    off = False

    @guarded
    def metrics(self):
        raise ConnectionError("refused\n\x1b[2J by \u202ethe server")


def test_the_reason_that_tracking_is_off_is_shown_on_one_line_and_once(capsys):
    track = Failing()
    track.metrics()
    track.metrics()
    line = "llmill: tracking is off for the rest of this stage: refused \\x1b[2J by \\u202ethe server\n"
    assert capsys.readouterr().err == line
