"""The stages, one module each. `dvc.yaml` lists them; `python -m llmill STAGE` runs one."""
