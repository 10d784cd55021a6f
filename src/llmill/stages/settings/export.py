"""What stage `export` is told."""

from llmill.contract.values import Dtype, Section


class Export(Section):
    dtype: Dtype  # of the weights on disk
