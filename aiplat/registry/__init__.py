"""Model versions: their folders, names, aliases and cards."""
