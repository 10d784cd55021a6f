"""Names and numbers that several packages share."""

WORLD, NEWS = "world", "news"  # sources that are generated here, not downloaded
SOURCES = "sources.json"  # in the folder of each role; stage `download` writes it
GPT2_TOKENS = 50257
