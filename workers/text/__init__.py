"""Labels for posts: encoders, heads and the worker that joins them."""
