"""What every stage relies on: parameters, the reader of dvc.yaml, records, runtime, tracking, and
the runner.
"""
