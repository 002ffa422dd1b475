"""Jobs on a cluster that is reached through its dashboard: what travels, and who looks after it."""
