import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from llmill.report import figures, style

SHARE = {"value": 0.75, "low": 0.70, "high": 0.79, "n": 300, "covers": "items"}
CURVE = [
    {"step": 10.0, "train_loss": 3.0},
    {"step": 20.0, "train_loss": 2.0, "validation_loss": 2.5},
    {"step": 30.0, "train_loss": 1.5, "validation_loss": 1.8},
]


def axes_of(figure, title):
    return next(axes for axes in figure.axes if axes.get_title(loc="left") == title)


def draw(function, *data):
    return style.draw(function, style.LIGHT, *data)


def test_loss_shows_training_and_validation_of_every_stage():
    curves = {"pretrain": CURVE, "classify@all": CURVE, "classify@last_block": CURVE}
    figure = draw(figures.loss, curves)
    lines = {line.get_label(): line for line in axes_of(figure, "pretrain").get_lines()}
    assert lines["training"].get_xydata().tolist() == [[10, 3], [20, 2], [30, 1.5]]
    assert lines["validation"].get_xydata().tolist() == [[20, 2.5], [30, 1.8]]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["classify all", "classify last_block"]
    assert axes_of(figure, "classify").get_ylabel() == "loss, nats per message"


def test_error_bars_reach_from_low_to_high():
    figure = draw(
        figures.classification, {"majority": {"accuracy": 0.5}, "all": {"accuracy": SHARE}}
    )
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["majority class", "all"]
    (bar,) = axes.containers[0].lines[2][0].get_segments()
    assert bar[:, 0].tolist() == pytest.approx([70, 79])
    assert {text.get_text() for text in axes.texts} == {"50.0", "75.0"}


def test_questions_have_a_panel_for_each_format_and_the_line_of_chance():
    found = {"pretrain": {"all": SHARE, "two_hops": None}, "instruct": {"all": SHARE}}
    figure = draw(figures.questions, {"cloze": found, "letter": found}, 0.25, "level")
    for axes in figure.axes:
        (chance,) = [line for line in axes.get_lines() if line.get_label() == "chance"]
        assert list(chance.get_xdata()) == [25, 25]
        assert axes.get_xlabel() == "accuracy, % (interval over items)"
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["all (300)", "two hops (–)"]


def test_confusion_counts_and_shares_stand_in_the_cells():
    figure = draw(figures.confusion, [[90, 10], [5, 45]], ["ham", "spam"], "all")
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["90\n90.0 %", "10\n10.0 %", "5\n10.0 %", "45\n90.0 %"]


def test_many_and_long_labels_are_turned_and_cut_and_counts_are_left_out():
    labels = [f"card_payment_wrong_exchange_rate_{n}" for n in range(11)]
    figure = draw(figures.confusion, [[1] * 11] * 11, labels, "all")
    axes = figure.axes[0]
    assert [each.get_text() for each in axes.get_yticklabels()] == ["card_payment_wrong_exch…"] * 11
    assert {each.get_rotation() for each in axes.get_xticklabels()} == {90.0}
    assert (len(axes.texts), *figure.get_size_inches()) == (0, 8.0, 9.6)


def test_the_bars_of_the_judge_are_shares_of_each_model_s_answers():
    spread = {"edges": [0, 50, 100], "counts": [3, 1]}
    mean = {"value": 40.0, "low": 30.0, "high": 50.0, "n": 4}
    figure = draw(
        figures.judge, {"pretrain": {"mean": mean, "exact_match": SHARE, "histogram": spread}}
    )
    bars = axes_of(figure, "Distribution of the scores").patches
    assert [bar.get_height() for bar in bars] == [75, 25]
    (bar,) = axes_of(figure, "Mean score").containers[0].lines[2][0].get_segments()
    assert bar[:, 0].tolist() == pytest.approx([30, 50])


def test_the_grader_is_drawn_from_the_best_kind_down():
    rows = [
        {"kind": kind, "score": score, "predicted": score + 1}
        for kind, score in (("noise", 0.0), ("reference", 100.0), ("half", 50.0))
        for _ in range(3)
    ]
    axes = draw(figures.grader, rows).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["noise (3)", "half (3)", "reference (3)"]  # from the bottom


def test_a_model_is_a_point_of_task_and_knowledge_with_an_interval_each_way_and_a_label():
    task = {"value": 0.75, "low": 0.70, "high": 0.80, "n": 284, "covers": "items"}
    known = {"value": 0.95, "low": 0.92, "high": 0.97, "n": 297, "covers": "items"}
    models = {"pretrain": ({**task, "value": 0.0, "low": 0.0}, known), "instruct": (task, known)}
    (axes,) = draw(figures.task_and_knowledge, models, 0.25).axes
    assert [bar.lines[0].get_xydata().tolist() for bar in axes.containers] == [
        [[0, 95]],
        [[75, 95]],
    ]
    across, along = axes.containers[1].lines[2]
    assert across.get_segments()[0].tolist() == [[70, 95], [80, 95]]
    assert along.get_segments()[0].ravel().tolist() == pytest.approx([75, 92, 75, 97])
    labels = {text.get_text(): text.get_horizontalalignment() for text in axes.texts}
    assert labels == {"foundation model": "left", "instruct model": "right"}
    (chance,) = [line for line in axes.get_lines() if line.get_label() == "chance"]
    assert list(chance.get_ydata()) == [25, 25]
    assert axes.get_xlabel() == "instructions with exact match, % (interval over items)"
    assert axes.get_ylabel() == "cloze questions right, % (interval over items)"


def test_a_model_without_a_task_or_without_knowledge_is_no_point():
    models = {"pretrain": (SHARE, None), "instruct": (None, SHARE), "prefer": (SHARE, SHARE)}
    (axes,) = draw(figures.task_and_knowledge, models).axes
    assert [text.get_text() for text in axes.texts] == ["preference-tuned model"]
    assert axes.get_legend() is None  # without chance


def test_preferences_have_a_panel_for_each_metric_with_its_value_before_the_tuning():
    curve = [
        {"step": 0.0, "validation_accuracy": 0.5, "margin": 0.0, "chosen_log_probability": -1.25},
        {"step": 60.0, "validation_accuracy": 0.75, "margin": 0.5, "chosen_log_probability": -1.5},
    ]
    figure = draw(figures.preferences, curve)
    panels = ("Pairs in the right order", "Margin of the rewards", "Chosen answers")
    drawn = {
        title: [line.get_xydata().tolist() for line in axes_of(figure, title).get_lines()]
        for title in (*panels, "Rejected answers")
    }
    assert [lines[0] for lines in drawn.values()] == [
        [[0, 50], [60, 75]], [[0, 0], [60, 0.5]], [[0, -1.25], [60, -1.5]], [],
    ]  # fmt: skip
    before = [axes_of(figure, title).get_lines()[1].get_ydata()[0] for title in panels]
    assert before == [50, 0, -1.25]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["before the tuning"]
    assert axes_of(figure, "Rejected answers").get_ylabel() == "log-likelihood, nats"
    assert draw(figures.preferences, curve[1:]).legends == []  # begun later: not known


@pytest.mark.parametrize(
    ("function", "data"),
    [
        (figures.loss, ({"pretrain": []},)),
        (figures.classification, ({"all": {}},)),
        (figures.confusion, ([], [], "")),
        (
            figures.questions,
            ({"cloze": {"pretrain": {}}, "letter": {"pretrain": {}}}, None, "level"),
        ),
        (figures.task_and_knowledge, ({}, None)),
        (figures.preferences, ([],)),
        (figures.judge, ({"pretrain": {}},)),
        (figures.grader, ([],)),
    ],
)
def test_nothing_to_show_is_still_a_figure(function, data):
    assert style.png(draw(function, *data)).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", [r"$\frac$", r"\$5 a^{b}", "\x1b[31m 日本 é"])
def test_a_label_is_text_whatever_stands_in_it(name):
    rows = [{"kind": name, "score": 100.0, "predicted": 90.0}]
    found = {"cloze": {name: {name: SHARE}}}
    drawn = [
        draw(figures.confusion, [[9, 1], [5, 45]], [name, "spam"], name),
        draw(figures.grader, rows),
        draw(figures.questions, found, 0.25, name),
        draw(figures.task_and_knowledge, {name: (SHARE, SHARE)}),
        draw(figures.judge, {name: {"mean": SHARE, "exact_match": SHARE}}),
        draw(figures.classification, {name: {"accuracy": SHARE}}),
        draw(figures.loss, {"pretrain": CURVE, f"classify@{name}": CURVE}),
    ]
    for figure in drawn:
        assert style.png(figure).startswith(b"\x89PNG")
        held = [text for text in figure.findobj(Text) if name in text.get_text()]
        assert held
        assert not any(text.get_parse_math() for text in held)


def test_the_settings_of_this_machine_change_nothing():
    before = style.png(draw(figures.classification, {"all": {"accuracy": SHARE}}))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 30}):
        after = style.png(draw(figures.classification, {"all": {"accuracy": SHARE}}))
    assert after == before


def test_a_theme_sets_paper_and_ink_and_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    dark = style.draw(figures.classification, style.DARK, {"all": {"accuracy": SHARE}})
    assert to_hex(dark.get_facecolor()) == "#181c21"
    assert dict(matplotlib.rcParams) == before


def test_accuracy_stands_over_what_each_variant_trains_and_over_what_it_took():
    interval = {"value": 0.9, "low": 0.88, "high": 0.92, "n": 900}
    variants = {
        "last_layer": {"accuracy": interval, "trainable_parameters": 256},
        "all": {
            "accuracy": {**interval, "value": 0.99, "high": 0.995},
            "trainable_parameters": 10**6,
        },
        "broken": {},
    }
    seconds = {"last_layer": 6.5, "broken": 3.0}
    trained = {"last layer": [[256, 90.0]], "all": [[10**6, 99.0]]}
    for figure, scale, points in (
        (draw(figures.by_parameters, variants), "log", trained),
        (draw(figures.by_seconds, seconds, variants), "linear", {"last layer": [[6.5, 90.0]]}),
    ):
        (axes,) = figure.axes
        drawn = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
        assert drawn == points
        assert axes.get_xscale() == scale
