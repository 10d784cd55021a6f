"""The section of `params.yaml` of each stage: every parameter, its type and its range.

These modules load no library but pydantic, because every command checks all parameters. The values
are in `params.yaml`; there are no defaults here.
"""
