"""What goes on while the permanent store is away: conversations *lodge* on this host's disk."""
