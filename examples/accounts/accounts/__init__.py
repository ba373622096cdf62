"""Accounts in PostgreSQL: the application whose table the demo and the tests change while two releases use it."""
