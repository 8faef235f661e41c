"""Bodies and responses of the API, by subject. The catalogue's rows never leave as they are."""
