"""What lies below everything: the reader of dvc.yaml, records, the code of a stage, values, errors,
the device.
"""
