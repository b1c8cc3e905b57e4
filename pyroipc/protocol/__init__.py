"""Messages to calls and back, without I/O: what both ends of a connection agree on."""
