"""Judges that score or compare answers: an embedded model, or a server."""
