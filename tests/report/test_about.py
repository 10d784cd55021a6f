"""The table of what stages are called and shown as, against the stages that there are."""

from llmill.report.about import ABOUT, about, loss_label, model_name
from tests.report import finished

STAGES = finished.stages()
REPORT = STAGES["report"]


def test_every_row_is_of_a_stage():
    assert ABOUT.keys() <= {stage.name for stage in STAGES.values()}


def test_every_training_on_the_page_says_what_its_loss_counts():
    curves = [dep.split("/")[1] for dep in REPORT.deps if dep.endswith("/curves.csv")]
    assert len(set(curves)) > 4
    assert [stage for stage in curves if about(stage).loss is None] == []


def test_every_model_that_is_asked_something_has_a_name():
    asked = [stage.variant for stage in STAGES.values() if stage.name in ("mmlu", "judge")]
    assert [stage for stage in asked if about(stage).model is None] == []


def test_a_stage_without_a_row_is_shown_by_its_own_name():
    assert (model_name("new_stage"), loss_label("new_stage")) == ("new stage", "loss")
    assert (model_name("prefer"), loss_label("prefer")) == (
        "preference-tuned model",
        "loss, nats per pair",
    )
