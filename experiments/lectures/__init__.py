"""The questions of the lectures, one file each, with the table of claims beside them."""
