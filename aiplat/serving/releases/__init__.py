"""A version of a model that takes over from another one: canary, shadow, verdict, rollback."""
