"""Verifying signatures: clean the ink, describe it in several ways, judge it by the subject's own spread."""
