"""The stages of the pipeline, one module each: named in `dvc.yaml`, run by `python -m llmill STAGE`."""
