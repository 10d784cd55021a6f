"""`llmill new-data FILE`: report what a file holds, and which lines of `params.yaml` use it.

The form is recognized by the ending and the names of columns. A person's intention is not known, so
the lines are a proposal.
"""

from llmill.new_data.report import print_report

__all__ = ["print_report"]
