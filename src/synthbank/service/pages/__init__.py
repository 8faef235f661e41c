"""The studio: server-rendered pages; each has its twin in the API."""
