"""Saddles: escape from them, descend to a minimum, and find what each of them connects."""
