"""Named blobs on a local disk, later on S3, Google Cloud Storage and Azure."""
