"""What stage `contamination` is told."""

from llmill.contract.values import Confidence, Few, Section, Share, Words


class Contamination(Section):
    words: Words  # of a run that is looked for; a shorter item is one run, the whole of it
    shortest: Words  # items of fewer words are looked for as whole documents only
    threshold: Share  # an item above it has more than this share of its runs in the training text
    reach: Few  # words behind an item within which its answer must begin
    confidence: Confidence
