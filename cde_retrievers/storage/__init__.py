"""Files that survive kills and power cuts: atomic writes, checksums, disk errors in words."""
