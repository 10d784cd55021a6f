"""Parameters of stage `contamination`."""

from llmill.contract.values import Confidence, Few, Share
from llmill.text import settings


class Contamination(settings.WordRuns):
    """Runs of `words` words of an item, or the whole of a shorter item, are searched for."""

    threshold: Share  # an item is above it if a larger share of its runs is in the training text
    reach: Few  # words after an item within which its answer must begin
    confidence: Confidence
