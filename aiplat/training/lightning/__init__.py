"""A LightningModule in our loop: its steps, hooks, log and optimizer, without a Trainer."""
