"""Storage: results in chunks on disk, whole or not at all, shared by processes, and the identity of what made them."""
