"""Which engine suits a model on this machine: each measured, its answers held against torch's."""
