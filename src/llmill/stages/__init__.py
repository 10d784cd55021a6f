"""The stages, one module each: listed in `dvc.yaml`, run by `python -m llmill STAGE`."""
