"""The runner of a stage: parameters, locks, scratch folders, tracking, processes and stopping."""
