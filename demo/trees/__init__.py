"""The demo's real aerial images: where they come from, and the model that finds their trees."""
