"""What lies on a storage and what it means: names, manifests, series, listing."""
