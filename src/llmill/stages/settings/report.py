"""What stage `report` is told."""

from llmill.contract.values import Few, Section, Title


class Report(Section):
    title: Title
    examples: Few  # best and worst answers shown
