"""What runs the model. Each engine is one file; reading, windows, merging and writing stand outside, once."""
