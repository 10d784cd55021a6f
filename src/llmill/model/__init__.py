"""The model: one transformer with switches, its heads, generation, and the checkpoint folder."""
