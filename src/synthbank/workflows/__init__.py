"""One function for each use case; the only place where rooms meet. Import the module you need: some load torch."""
