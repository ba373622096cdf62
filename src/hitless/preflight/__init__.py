"""What an examined instance shows, and what follows from it. Pure."""
