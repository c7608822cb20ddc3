"""Where clients meet the server: connections, what they send and are sent, and what is refused."""
