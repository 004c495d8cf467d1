"""Defects, learned from good parts only: patch features, a memory bank, a calibrated threshold, boxes."""
