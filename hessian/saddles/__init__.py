"""Saddles: the way out, down to a minimum, and what each saddle connects."""
