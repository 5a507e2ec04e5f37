"""One module per verb: what the commands do, without a word about how it is shown."""
