"""Parameters of stage `tokenize`."""

from llmill.contract.values import Section, Threads


class Tokenize(Section):
    processes: Threads
