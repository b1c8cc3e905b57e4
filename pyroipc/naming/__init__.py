"""Finding objects by name: the name server, its storages, and how clients find it."""
