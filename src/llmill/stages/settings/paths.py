"""What stage `paths` is told."""

from llmill.contract.values import Line, Section


class Paths(Section):
    """The two roots, below which every stage has its folder (`dvc.yaml`)."""

    data: Line
    results: Line
