"""`llmill plan`: what `dvc repro` would do with every stage, why, and what its last run took."""
