"""API keys: what they look like, what they allow, where they are kept, how a replica knows them."""
