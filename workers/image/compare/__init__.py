"""Comparing a photograph with its reference: align, match the light, difference, group into regions."""
