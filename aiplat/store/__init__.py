"""Files and records under the storage root, local or remote."""
