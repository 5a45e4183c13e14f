"""Gets published data and checkpoints: fetches with resumption, checks, unpacks, puts in place."""
