"""Google Cloud: settings, requests as plain values, what sends them, a price table, and the files of `init`."""
