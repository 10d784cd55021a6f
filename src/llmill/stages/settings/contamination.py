"""What stage `contamination` is told."""

from llmill.contract.values import Confidence, Few, Share
from llmill.text import settings


class Contamination(settings.Contamination):
    """An item's runs of `words` words that stand in a document, or the whole of a shorter item."""

    threshold: Share  # an item above it has more than this share of its runs in the training text
    reach: Few  # words behind an item within which its answer must begin
    confidence: Confidence
