"""Where files come from and how they arrive: sources, mirrors, resumed transfers, hashes."""
