"""One page from what runs have left: reads their documents, measures nothing."""
