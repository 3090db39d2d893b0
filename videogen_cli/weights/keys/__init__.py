"""Key names of network families that several systems publish, as rules for their key maps."""
