"""Verdicts on images: decoding, galleries, modes and the worker that joins them."""
