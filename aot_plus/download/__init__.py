"""Getting published data and checkpoints: fetched with resumption, checked, unpacked, put in place."""
