"""Two crops of Landsat 8 scenes, and the model bundle for them."""
