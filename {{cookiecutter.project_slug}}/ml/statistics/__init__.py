"""The project's statistics; everything that decides by numbers takes them from here."""
