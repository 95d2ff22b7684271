"""A small procedural renderer for registered infrared-visible example pictures."""
