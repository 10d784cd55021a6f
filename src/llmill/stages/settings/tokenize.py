"""What stage `tokenize` is told."""

from llmill.contract.values import Section, Threads


class Tokenize(Section):
    processes: Threads
