"""Whether an answer is the right one, or how near it comes, by rule."""
