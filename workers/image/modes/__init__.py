"""Modes: what a match means. One module a mode, all behind modes/base.py."""
