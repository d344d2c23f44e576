"""How the drawn sets are painted: `canvas` for all, and what is in a picture for each."""
