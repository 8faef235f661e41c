"""Generation: from a request to stored, screened and catalogued images."""
