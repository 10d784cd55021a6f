"""`python -m llmill serve`: models that stages made, behind the OpenAI HTTP interface."""
