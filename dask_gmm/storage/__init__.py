"""Where bytes are: URLs, whole files, retries, what a store's errors mean."""
