"""Access to stores, whatever is kept in them.

`location` is a place, with credentials that stay in one process (`redaction`). `atomic` writes and reads
small files as a whole, `container` is the form of a model file, `objects` opens a store of obstore.
`retries` waits for a store that fails for a while, by what `store_errors` say that an error means.
`fingerprint` tells whether stored rows have changed.
"""
