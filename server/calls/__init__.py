"""The contract's calls: each parses, asks the one who knows, and answers."""
