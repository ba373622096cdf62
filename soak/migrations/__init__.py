"""Changes of the schema whose worker and server are killed at random, under load: see `docs/how-to/soak.md`."""
