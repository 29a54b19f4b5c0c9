"""One printer after the other comes, lives and goes."""
