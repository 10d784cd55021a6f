"""The version, which `pyproject.toml` reads. Stages do not import it, so a new one redoes none."""

VERSION = "0.1.0"
