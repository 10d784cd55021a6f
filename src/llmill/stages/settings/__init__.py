"""The section of `params.yaml` that each stage owns: every parameter, its type and its range.

They load no library but pydantic, since every command checks all of them. A parameter has its value
in `params.yaml` and no default here.
"""
