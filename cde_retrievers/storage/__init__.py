"""Files that survive kills and power cuts: atomic writes, checksums, readable disk errors."""
