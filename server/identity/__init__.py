"""Who is calling: guests, users with a JWT, and a project's own check."""
