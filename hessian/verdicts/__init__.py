"""Verdicts: what kind of point theta is, the evidence for it, and the search for all critical points."""
