"""The version, which `pyproject.toml` reads here; no stage imports it, so a new one redoes none."""

VERSION = "0.1.0"
