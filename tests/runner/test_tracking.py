"""The tracker: what fails there is said, and stops nothing."""

import json
from types import SimpleNamespace

import pytest
from mlflow.exceptions import RESOURCE_DOES_NOT_EXIST, MlflowException

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


class Server:
    """MLflow that keeps what it was told, refuses a metric called `nan`, and lacks some runs."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        def tell(*words, **named):
            if words[:1] == ({"nan": 1.0},):
                raise ValueError("not a number")
            self.told.append((name, *words, *named.values()))
            return SimpleNamespace(info=SimpleNamespace(run_id="new"))

        return tell

    def MlflowClient(self):
        return self

    def get_run(self, run_id):
        if run_id == "lost":
            raise MlflowException("Run with id=lost not found", RESOURCE_DOES_NOT_EXIST)
        if run_id == "locked":
            raise MlflowException("the database is locked")
        stage = "deleted" if run_id == "deleted" else "active"
        return SimpleNamespace(info=SimpleNamespace(lifecycle_stage=stage, experiment_id="7"))


@pytest.fixture
def server(tmp_path, monkeypatch) -> Server:
    monkeypatch.chdir(tmp_path)
    mlflow = Server()
    monkeypatch.setattr(tracking, "_mlflow", lambda: mlflow)
    monkeypatch.setattr(tracking, "_open_experiment", lambda name: None)
    monkeypatch.setattr(tracking, "_surroundings", dict)
    monkeypatch.setattr(tracking, "_logged", lambda client, run_id: set())
    return mlflow


@pytest.mark.parametrize("left", ['{"run_id": "lost"}', '{"run_id": "deleted"}', ""])
def test_a_run_that_is_not_on_the_server_any_more_is_begun_anew(tmp_path, server, left):
    (tmp_path / tracking.RUN_FILE).write_text(left)
    track = Track(tmp_path)
    track.start("world", "mill", {"mill": {"seed": 1}}, {})
    assert not track.off
    assert json.loads((tmp_path / tracking.RUN_FILE).read_text()) == {"run_id": "new"}
    assert ("log_params", {"mill.seed": 1}) in server.told


def test_a_run_goes_on_in_its_experiment_though_the_name_is_another_now(tmp_path, server):
    (tmp_path / tracking.RUN_FILE).write_text('{"run_id": "one"}')
    track = Track(tmp_path)
    track.start("two", "mill", {}, {})
    assert not track.off
    names = [name for name, *_ in server.told]
    assert ("set_experiment", "7") in server.told
    assert names.index("set_experiment") < names.index("start_run")


def test_a_run_that_cannot_be_read_just_now_is_not_lost(tmp_path, server, capsys):
    (tmp_path / tracking.RUN_FILE).write_text('{"run_id": "locked"}')
    track = Track(tmp_path)
    track.start("world", "mill", {}, {})
    assert track.off
    assert "the database is locked" in capsys.readouterr().err
    assert json.loads((tmp_path / tracking.RUN_FILE).read_text()) == {"run_id": "locked"}


def test_a_run_is_closed_as_what_became_of_it_though_a_call_before_failed(tmp_path, server, capsys):
    track = Track(tmp_path)
    track.start("world", "mill", {}, {})
    track.metrics({"nan": 1.0})
    track.metrics({"loss": 1.0})
    track.finish("FAILED")
    assert server.told[-1] == ("end_run", "FAILED")
    assert "log_metrics" not in [name for name, *_ in server.told]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_name_with_signs_that_mlflow_refuses_is_written_without_them(tmp_path, server):
    Track(tmp_path).start("world", "mill", {"weights": {"Müller & Co (1).txt": 2.0}}, {})
    assert ("log_params", {"weights.Müller _ Co _1_.txt": 2.0}) in server.told


def test_a_metric_of_a_file_with_such_a_name_is_written_without_them(tmp_path, server):
    track = Track(tmp_path)
    track.start("world", "mill", {}, {})
    track.metrics({"final_by_source.notes (1).txt.after": 2, "by_kind.a//b/./c/.mean": 1, "x/y": 0})
    written = {
        "final_by_source.notes _1_.txt.after": 2.0,
        "by_kind.a__b_._c_.mean": 1.0,
        "x/y": 0.0,
    }
    assert ("log_metrics", written, None) in server.told


def test_a_password_in_the_server_s_address_is_not_shown(monkeypatch):
    monkeypatch.setenv(tracking.URI, "http://user:secret@host:5000")
    assert tracking.shown_uri() == "http://host:5000"
    monkeypatch.setenv(tracking.URI, "http://user:p@ss@host:5000")
    assert tracking.shown_uri() == "http://host:5000"
    said = tracking.describe(ValueError("no reply from http://user:secret@host:5000/api"))
    assert said == "no reply from http://host:5000/api"


def test_a_table_has_the_columns_of_all_rows(tmp_path, monkeypatch):
    logged = {}
    mlflow = SimpleNamespace(log_table=lambda columns, name: logged.update({name: columns}))
    monkeypatch.setattr(tracking, "_mlflow", lambda: mlflow)
    Track(tmp_path).table("items", [{"key": 1, "subject": "law"}, {"key": 2, "label": "spam"}])
    assert logged == {
        "items.json": {"key": [1, 2], "subject": ["law", None], "label": [None, "spam"]}
    }
