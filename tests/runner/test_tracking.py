"""The tracker: what fails there is said, and stops nothing."""

from types import SimpleNamespace

from llmill.runner import tracking
from llmill.runner.tracking import Track, guarded


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


def test_a_table_has_the_columns_of_all_rows(tmp_path, monkeypatch):
    logged = {}
    mlflow = SimpleNamespace(log_table=lambda columns, name: logged.update({name: columns}))
    monkeypatch.setattr(tracking, "_mlflow", lambda: mlflow)
    Track(tmp_path).table("items", [{"key": 1, "subject": "law"}, {"key": 2, "label": "spam"}])
    assert logged == {
        "items.json": {"key": [1, 2], "subject": ["law", None], "label": [None, "spam"]}
    }
