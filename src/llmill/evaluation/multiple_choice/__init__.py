"""Multiple-choice questions: prompts, scores and accuracy."""
