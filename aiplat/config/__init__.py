"""From files and overrides to a checked configuration. Knows no section and no job."""
