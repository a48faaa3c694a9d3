"""One step as a module: both stages under a contrastive loss, their gradients cached."""
