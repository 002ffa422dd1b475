"""From a folder of data to an answering endpoint on one elastic Ray cluster."""
