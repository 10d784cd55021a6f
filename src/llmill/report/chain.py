"""The chain as a picture: lay out for SVG which stage reads which, by the inputs of the records.

Input: the folder and the inputs of each stage. Output: boxes and arrows with positions, from left
to right for a screen, or from top to bottom for a phone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 104, 44
ACROSS = (34, 22)  # gaps between boxes along the chain, and at a right angle to it
DOWN = (26, 14)

NEAR = 0.4  # a box hides an arrow within so many rows

Parents = Mapping[str, set[str]]
Node = str | tuple[str, str, int]  # a stage, or a gap for an arrow: (start, end, depth)


@dataclass(frozen=True)
class Picture:
    """`boxes` holds (stage, x, y of the upper left corner), `arrows` the SVG path of each line."""

    width: int
    height: int
    boxes: list[tuple[str, int, int]]
    arrows: list[str]


def parents(folders: Mapping[str, str], inputs: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return, for each stage, the stages whose folders contain one of its inputs."""
    return {
        stage: {
            other
            for other, folder in folders.items()
            if other != stage and any(path.startswith(f"{folder}/") for path in paths)
        }
        for stage, paths in inputs.items()
    }


def direct(graph: Parents) -> dict[str, set[str]]:
    """Remove the arrows that a longer path already implies (transitive reduction)."""
    above = {stage: _ancestors(graph, stage) for stage in graph}
    return {
        stage: {p for p in all_parents if not any(p in above[other] for other in all_parents)}
        for stage, all_parents in graph.items()
    }


def across(graph: Parents) -> Picture:
    """Lay out the chain from left to right."""
    places, deepest, widest = _places(graph)
    along, beside = BOX_WIDTH + ACROSS[0], BOX_HEIGHT + ACROSS[1]
    boxes = {n: (2 + depth * along, round(2 + row * beside)) for n, (depth, row) in places.items()}
    arrows = []
    for stops in _stops(graph, places):
        path = ""
        for start, end in pairwise(stops):
            x0, y0 = boxes[start][0] + BOX_WIDTH, boxes[start][1] + BOX_HEIGHT // 2
            x1, y1 = boxes[end][0] - 7 * (end in graph), boxes[end][1] + BOX_HEIGHT // 2
            bend = (x0 + x1) // 2
            path += f"{'L' if path else 'M'}{x0} {y0}C{bend} {y0} {bend} {y1} {x1} {y1}"
        arrows.append(path)
    size = (deepest * along - ACROSS[0] + 4, widest * beside - ACROSS[1] + 4)
    return Picture(*size, [(s, *boxes[s]) for s in graph], arrows)


def down(graph: Parents) -> Picture:
    """Lay out the chain from top to bottom."""
    places, deepest, widest = _places(graph)
    along, beside = BOX_HEIGHT + DOWN[0], BOX_WIDTH + DOWN[1]
    boxes = {n: (round(2 + row * beside), 2 + depth * along) for n, (depth, row) in places.items()}
    arrows = []
    for stops in _stops(graph, places):
        path = ""
        for start, end in pairwise(stops):
            x0, y0 = boxes[start][0] + BOX_WIDTH // 2, boxes[start][1] + BOX_HEIGHT
            x1, y1 = boxes[end][0] + BOX_WIDTH // 2, boxes[end][1] - 7 * (end in graph)
            bend = (y0 + y1) // 2
            path += f"{'L' if path else 'M'}{x0} {y0}C{x0} {bend} {x1} {bend} {x1} {y1}"
        arrows.append(path)
    size = (widest * beside - DOWN[1] + 4, deepest * along - DOWN[0] + 4)
    return Picture(*size, [(s, *boxes[s]) for s in graph], arrows)


def _places(graph: Parents) -> tuple[dict[Node, tuple[int, float]], int, int]:
    """Return (depth, row) of each stage and gap, the number of depths, and the most nodes at one
    depth.
    """
    depths = {stage: len(_longest(graph, stage)) for stage in graph}
    levels: dict[int, list[Node]] = {}
    for stage, depth in depths.items():
        levels.setdefault(depth, []).append(stage)
    straight = sorted(_arrows(graph), key=lambda arrow: -depths[arrow[1]])
    while led := next((arrow for arrow in straight if _is_hidden(*arrow, depths, levels)), None):
        straight.remove(led)  # a gap moves other boxes, which may then hide another arrow
        for depth in range(depths[led[0]] + 1, depths[led[1]]):
            levels[depth].insert(0, (*led, depth))
    rows, widest = _rows(levels)
    places = {node: (depth, rows[node]) for depth, level in levels.items() for node in level}
    return places, max(levels) + 1, widest


def _is_hidden(
    start: str, end: str, depths: Mapping[str, int], levels: Mapping[int, list[Node]]
) -> bool:
    """Return whether a box may hide an arrow without gaps: it is a curve, which may pass anywhere
    between the rows of its ends.
    """
    rows, _ = _rows(levels)
    low, high = sorted((rows[start], rows[end]))
    between = range(depths[start] + 1, depths[end])
    return any(low - NEAR < rows[s] < high + NEAR for depth in between for s in levels[depth])


def _rows(levels: Mapping[int, list[Node]]) -> tuple[dict[Node, float], int]:
    """Return the row of each node, centred per depth, and the most nodes at one depth."""
    widest = max(len(level) for level in levels.values())
    rows = {
        node: i + (widest - len(level)) / 2
        for level in levels.values()
        for i, node in enumerate(level)
    }
    return rows, widest


def _stops(graph: Parents, places: Mapping[Node, tuple[int, float]]) -> Iterator[list[Node]]:
    """Yield the nodes of each arrow, from its start through gaps to its end."""
    for start, end in _arrows(graph):
        between = range(places[start][0] + 1, places[end][0])
        gaps: list[Node] = [(start, end, d) for d in between if (start, end, d) in places]
        yield [start, *gaps, end]


def _longest(graph: Parents, stage: str) -> list[str]:
    """Return the longest path from a start of the chain to a parent of the stage."""
    ways = [[*_longest(graph, parent), parent] for parent in sorted(graph[stage])]
    return max(ways, key=len, default=[])


def _ancestors(graph: Parents, stage: str) -> set[str]:
    ancestors = set(graph[stage])
    for parent in graph[stage]:
        ancestors |= _ancestors(graph, parent)
    return ancestors


def _arrows(graph: Parents) -> list[tuple[str, str]]:
    """Return all arrows, in the order of the stages."""
    return [
        (parent, stage) for stage, nearest in direct(graph).items() for parent in sorted(nearest)
    ]
