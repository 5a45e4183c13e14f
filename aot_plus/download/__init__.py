"""Downloads published data and checkpoints: resumes, verifies, unpacks, and moves into place."""
