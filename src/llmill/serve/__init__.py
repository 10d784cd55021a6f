"""`python -m llmill serve`: language models behind the OpenAI HTTP interface."""
