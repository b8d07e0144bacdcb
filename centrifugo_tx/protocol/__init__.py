"""The client protocol: messages, codes, encodings and framings.  No network here."""
