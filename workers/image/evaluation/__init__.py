"""How well layers and metrics find images of a kind, on one's own labelled folder."""
