"""The lowest layer, used by all others: the reader of dvc.yaml, records, the code of a stage,
values, errors and the device.
"""
