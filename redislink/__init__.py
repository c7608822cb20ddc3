"""One Redis, asked carefully: requests batched, none repeated, a breaker while it is away."""
