"""Where rows come from: one protocol, one file for each kind of data."""
