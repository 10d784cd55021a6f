"""The model: one decoder by switches, its heads, generation, and the checkpoint folder."""
