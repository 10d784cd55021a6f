"""Tasks a model is tuned for and measured on: files to examples."""
