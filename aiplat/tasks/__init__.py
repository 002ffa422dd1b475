"""Learning problems: rows to tensors, loss, metrics, answers. No device, no rank, no HTTP."""
