"""Parameters of stage `report`."""

from llmill.contract.values import Few, Section, Title


class Report(Section):
    title: Title
    examples: Few  # number of best and of worst answers shown
