"""Parameters of stage `paths`."""

from llmill.contract.values import Line, Section


class Paths(Section):
    """The two root folders; `dvc.yaml` puts every stage's folder below one of them."""

    data: Line
    results: Line
