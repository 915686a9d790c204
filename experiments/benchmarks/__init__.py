"""How fast: one file each."""
