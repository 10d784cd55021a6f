"""Multiple-choice questions: how they are asked, scored and counted."""
