"""Heads: from embeddings to label probabilities. Plain numpy, no neural model."""
