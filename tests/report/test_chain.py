import re

import pytest

from llmill.report import chain

GRAPH = {
    "raw": set(),
    "clean": {"raw"},
    "train": {"clean", "raw"},
    "left": {"train", "clean"},
    "right": {"train"},
    "page": {"raw", "clean", "train", "left", "right"},
}


def test_a_stage_reads_those_whose_folder_holds_its_inputs():
    folders = {"raw": "data/raw", "raw2": "data/raw2", "train": "results/train"}
    inputs = {"raw": ["sources.yaml"], "train": ["data/raw/text", "src/x.py"]}
    assert chain.parents(folders, inputs) == {"raw": set(), "train": {"raw"}}


def test_an_arrow_that_a_longer_way_shows_is_left_out():
    assert chain.direct(GRAPH) == {
        "raw": set(),
        "clean": {"raw"},
        "train": {"clean"},
        "left": {"train"},
        "right": {"train"},
        "page": {"left", "right"},
    }


def test_boxes_stand_in_the_order_of_the_longest_way_and_never_on_each_other():
    picture = chain.across(GRAPH)
    places = {stage: (x, y) for stage, x, y in picture.boxes}
    columns = [places[s][0] for s in ("raw", "clean", "train", "left", "page")]
    assert columns == sorted(set(columns))
    assert places["left"][0] == places["right"][0]
    assert len(set(places.values())) == len(GRAPH)
    assert len(picture.arrows) == 6


def test_every_box_lies_inside_the_picture_in_both_directions():
    for picture in (chain.across(GRAPH), chain.down(GRAPH)):
        for _, x, y in picture.boxes:
            assert x >= 0 and x + chain.BOX_WIDTH <= picture.width
            assert y >= 0 and y + chain.BOX_HEIGHT <= picture.height
    assert chain.across(GRAPH).width > chain.across(GRAPH).height
    assert chain.down(GRAPH).width < chain.down(GRAPH).height


def test_an_arrow_leads_round_the_box_that_would_hide_it():
    graph = {"a": set(), "b": {"a"}, "left": {"b"}, "middle": {"b"}, "right": {"b"}}
    graph |= {"far": {"left", "right"}, "end": {"middle", "far"}}
    for picture in (chain.across(graph), chain.down(graph)):
        led = [arrow for arrow in picture.arrows if "L" in arrow]
        assert len(led) == 1
        places = {stage: (x, y) for stage, x, y in picture.boxes}
        x, y = map(int, led[0].split("L")[1].split("C")[0].split())
        left, top = places["far"]
        assert not (left <= x <= left + chain.BOX_WIDTH and top <= y <= top + chain.BOX_HEIGHT)


CHAIN = {
    "pretrain": set(),
    "grader": {"pretrain"},
    "classify": {"pretrain"},
    "instruct": {"pretrain"},
    "mmlu": {"prefer"},
    "judge": {"grader", "prefer"},
    "export": {"classify", "prefer"},
    "accuracy": {"classify"},
    "report": {"contamination", "export", "knowledge", "signals"},
    "knowledge": {"prefer"},
    "prefer": {"instruct"},
    "signals": {"pretrain"},
    "contamination": {"accuracy", "judge", "mmlu"},
}


def points(arrow):
    """Points along the cubic curves of an SVG path, 41 each, joined by straight lines."""
    at = None
    for command, numbers in re.findall(r"([MLC])([\d. ]+)", arrow):
        values = [float(number) for number in numbers.split()]
        ends = [at, *zip(values[::2], values[1::2], strict=True)][1:]
        if command == "C":
            for n in range(41):
                t = n / 40
                shares = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
                yield tuple(
                    sum(s * p[i] for s, p in zip(shares, [at, *ends], strict=True)) for i in (0, 1)
                )
        elif command == "L":
            yield from ((at[i] + (ends[0][i] - at[i]) * n / 40 for i in (0, 1)) for n in range(41))
        at = ends[-1]


ON_THE_PAGE = {  # in the order of the records, without exports
    "pretrain": set(),
    "classify": {"pretrain"},
    "instruct": {"pretrain"},
    "grader": {"pretrain"},
    "prefer": {"instruct"},
    "mmlu": {"prefer"},
    "knowledge": {"prefer"},
    "signals": {"pretrain"},
    "accuracy": {"classify"},
    "judge": {"grader", "prefer"},
    "contamination": {"accuracy", "judge", "mmlu"},
    "report": {"contamination", "knowledge", "signals"},
}


@pytest.mark.parametrize("graph", [CHAIN, ON_THE_PAGE], ids=["all stages", "the page"])
def test_no_arrow_runs_behind_a_box(graph):
    for picture in (chain.across(graph), chain.down(graph)):
        for arrow in picture.arrows:
            for x, y in points(arrow):
                inside = [
                    stage
                    for stage, left, top in picture.boxes
                    if left < x < left + chain.BOX_WIDTH and top < y < top + chain.BOX_HEIGHT
                ]
                assert not inside
