"""Export formats, one file each; a file registers itself when the registry first looks."""
